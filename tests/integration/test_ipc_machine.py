"""What the machine does to a channel: no descriptors left, full sockets, descriptors that are used again, timeouts."""

import gc
import itertools
import json
import os
import resource
import socket
import subprocess
import sys
import threading

import psutil
import pytest

from ipc import IpcError, Limits, MemoryLog, SocketServer
from tests.unit.ipc.channel import (
    KEY,
    WITHIN_S,
    Arrivals,
    Listener,
    eventually,
    run_together,
    thread_names,
    unhurried,
)
from tests.unit.ipc.stranger import Stranger

# A server with few descriptors. It tells its log on stdout, and answers on its stdin's lines.
POOR_SERVER = """
import resource, sys
import structlog
resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
structlog.configure(processors=[structlog.processors.JSONRenderer()], logger_factory=structlog.PrintLoggerFactory())
from ipc import Limits, SocketServer
server = SocketServer(sys.argv[1], authkey=sys.argv[2].encode(), limits=Limits(handshake_s=60.0))
server.on_request("double")(lambda payload: {"twice": 2 * payload["number"]})
server.start()
tell = structlog.get_logger().info  # as the server does: lines of two threads never mix
tell("started")
for line in sys.stdin:
    tell("stats", **server.stats)
server.stop()
"""


class PoorServer:
    """A process that runs out of descriptors after some forty."""

    def __init__(self, path):
        command = [sys.executable, "-c", POOR_SERVER, path, KEY.decode()]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        self.lines = []

    def wait_for(self, event):
        """Read the log up to a line of this name, and return it."""
        while not self.lines or self.lines[-1]["event"] != event:
            line = self.process.stdout.readline()
            assert line, "the server has ended"
            self.lines.append(json.loads(line))
        return self.lines[-1]

    def stats(self):
        self.process.stdin.write("\n")
        self.lines.append({"event": "asked"})
        return self.wait_for("stats")

    def close(self):
        self.process.stdin.close()
        rest = self.process.stdout.read()
        self.process.stdout.close()
        assert self.process.wait(WITHIN_S) == 0
        return rest


def test_a_server_out_of_descriptors_waits_for_better_times(socket_path, open_client):
    """It says so once, does not spin, serves who is there, and takes who waits as soon as it can."""
    poor = PoorServer(socket_path)
    poor.wait_for("started")
    good = open_client().wait_live()
    crowd = [Stranger(socket_path) for _ in range(60)]
    try:
        for number, stranger in enumerate(crowd[:20]):
            stranger.greet(f"member {number}")  # they stay
        poor.wait_for("accept_paused")
        for number in range(50):
            reply = good.client.request({"type": "double", "number": number}, timeout_s=WITHIN_S)
            assert reply == {"twice": 2 * number}
        late = open_client(name="late")  # waits in the backlog
        assert late.states.wait_until(lambda states: states)
        assert not good.deliveries.items
        used_before = _cpu_s(poor.process.pid)
        assert good.states.stays_as_it_is(1.0)
        assert _cpu_s(poor.process.pid) - used_before < 0.1
        poor.stats()
        assert sum(line["event"] == "accept_paused" for line in poor.lines) == 1  # per shortage, not per attempt
    finally:
        for stranger in crowd:
            stranger.socket.close()
    late.wait_live()
    assert late.client.request({"type": "double", "number": 1}, timeout_s=WITHIN_S) == {"twice": 2}
    eventually(lambda: poor.stats()["peers"] == 2)
    assert good.state_kinds == ["connecting", "resuming", "live"]
    good.client.stop()
    late.client.stop()
    poor.close()


def _cpu_s(pid):
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


def test_a_server_that_cannot_start_leaves_nothing(socket_path, socket_dir):
    """Too few descriptors for one of its parts, whichever it is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    failed = 0
    for spare in itertools.count():
        server = SocketServer(socket_path, authkey=KEY)
        free = (number for number in itertools.count() if not os.path.lexists(f"/proc/self/fd/{number}"))
        resource.setrlimit(resource.RLIMIT_NOFILE, (next(itertools.islice(free, spare, None)), hard))
        try:
            server.start()
        except (OSError, IpcError):
            failed += 1
        else:
            break
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            server.stop()
        assert os.listdir(socket_dir) == [], f"with {spare} descriptors"
    assert failed >= 2
    assert os.listdir(socket_dir) == []


class FailingLog(MemoryLog):
    """A log that fails, once for each time it is told to."""

    def __init__(self):
        super().__init__()
        self.failures = 0
        self._lock = threading.Lock()

    def fail_if_told(self):
        with self._lock:
            if not self.failures:
                return
            self.failures -= 1
        raise OSError("disk I/O error")

    @property
    def epoch(self):
        self.fail_if_told()
        return self._epoch

    @epoch.setter
    def epoch(self, epoch):
        self._epoch = epoch

    def read(self, after_seq, max_bytes):
        self.fail_if_told()
        return super().read(after_seq, max_bytes)


@pytest.mark.usefixtures("log_lines")
def test_a_log_that_fails_while_a_client_comes(open_server, open_client, socket_path):
    log = FailingLog()
    open_server(log=log)
    with Stranger(socket_path) as stranger:
        stranger.authenticate()
        log.failures = 1
        stranger.say({"op": "hello", "protocol": 1, "client": "unlucky", "resume": {"epoch": "e", "seq": 1}})
        stranger.hear_to_the_end()
    eventually(lambda: thread_names("ipc-peer") == [])
    gc.collect()  # a socket that nobody has closed is a warning, and so a failure
    open_client().wait_live()


@pytest.mark.usefixtures("log_lines")
@pytest.mark.parametrize("failures", [1, 3, 10])
def test_a_log_that_fails_while_it_is_read(open_server, open_client, failures):
    """Whoever broadcasts does not hear of it, and in the end everything has arrived."""
    log = FailingLog()
    server = open_server(log=log)
    listeners = [open_client(name=f"{number}").wait_live() for number in range(3)]
    for number in range(200):
        if number in (50, 100):
            log.failures = failures
        assert server.broadcast({"number": number}) <= 3

    def has_failed_enough():
        server.flush()  # two hundred messages may have been read in a few pieces
        return log.failures == 0

    eventually(has_failed_enough)
    server.broadcast({"number": 200})
    for listener in listeners:
        listener.deliveries.wait_for(201)
        assert listener.seqs == list(range(1, 202))


def test_a_default_timeout_of_sockets_changes_nothing(open_server, open_client):
    socket.setdefaulttimeout(0.05)
    try:
        server = open_server()
        listener = open_client().wait_live()
        assert listener.states.stays_as_it_is(0.5)
        server.broadcast({"still": "here"})
        assert listener.wait_for_payloads(1) == [{"still": "here"}]
        assert listener.state_kinds == ["connecting", "resuming", "live"]
    finally:
        socket.setdefaulttimeout(None)


def test_both_sides_send_great_messages_at_each_other_from_their_handlers(open_server, open_client):
    """Each side's socket is full while its handler sends: whoever reads never waits for a write."""
    limits = unhurried(max_frame_bytes=4 << 20, outbox_bytes=1 << 30, log_bytes=1 << 30)
    server = open_server(limits=limits)
    listener = open_client(limits=limits).wait_live()
    text = "x" * (2 << 20)
    at_server = Arrivals()
    first_three_sent = threading.Event()

    @server.add_message_handler
    def answer(payload):
        at_server(payload["number"])
        server.broadcast({"number": payload["number"], "text": text})

    @listener.client.add_message_handler
    def ask_again(payload):
        assert first_three_sent.wait(60)
        if payload["number"] < 30:
            assert listener.client.send_message({"number": payload["number"] + 3, "text": text})

    for number in range(3):
        assert listener.client.send_message({"number": number, "text": text})
    first_three_sent.set()
    at_server.wait_for(33, within_s=60.0)
    listener.deliveries.wait_for(33, within_s=60.0)
    assert at_server.items == list(range(33))
    assert [payload["number"] for payload in listener.wait_for_payloads(33)] == list(range(33))
    assert listener.state_kinds == ["connecting", "resuming", "live"]


def test_a_message_larger_than_what_the_socket_takes_at_once(open_server, open_client):
    limits = unhurried(max_frame_bytes=16 << 20)
    server = open_server(limits=limits)
    listener = open_client(limits=limits).wait_live()
    payload = {"text": "x" * (15 << 20)}
    server.broadcast(payload)
    assert listener.wait_for_payloads(1) == [payload]


@pytest.mark.parametrize("max_frame_bytes", [1024, 2000, 1 << 17])
def test_small_frames_on_both_sides_also_hold_a_backlog(open_server, socket_path, max_frame_bytes):
    """What piles up while one side is busy is sent in frames that the other side takes."""
    limits = unhurried(max_frame_bytes=max_frame_bytes, retry_max_s=0.05)
    server = open_server(limits=limits)
    _exchange_a_backlog(server, Listener(socket_path, limits=limits))


def test_a_client_keeps_to_the_servers_frame_size(open_server, socket_path):
    """The server's limit is told in its welcome, and is smaller than the client's own."""
    server = open_server(limits=unhurried(max_frame_bytes=2000))
    _exchange_a_backlog(server, Listener(socket_path, limits=Limits(retry_max_s=0.05)))


def _exchange_a_backlog(server, listener):
    """Let two thousand messages pile up in each direction, then have them handled."""
    gate = threading.Event()
    at_server = Arrivals()

    @server.add_message_handler
    def handle(payload):
        gate.wait()
        at_server(payload["number"])

    listener.client.add_message_handler(lambda _: gate.wait())
    listener.start().wait_live()
    try:
        for number in range(2000):
            server.broadcast({"number": number, "text": "x" * 100})
            assert listener.client.send_message({"number": number, "text": "x" * 100})
        gate.set()
        assert at_server.wait_for(2000) == list(range(2000))
        assert [payload["number"] for payload in listener.wait_for_payloads(2000)] == list(range(2000))
        assert listener.state_kinds == ["connecting", "resuming", "live"]
        assert server.stats["rejected"] == {}
    finally:
        gate.set()
        listener.client.stop()


def test_a_message_that_the_server_cannot_take_does_not_block_those_behind_it(open_server, open_client):
    """One that fits the client's limit and not the server's is refused, not sent for ever."""
    server = open_server(limits=unhurried(max_frame_bytes=2000))
    handled = Arrivals()
    server.add_message_handler(handled)
    listener = open_client(limits=Limits(retry_max_s=0.05)).wait_live()
    try:
        listener.client.send_message({"text": "x" * 5000})
    except ValueError:
        pass  # PayloadError: the caller is told
    listener.client.send_message({"behind": "it"})
    assert handled.wait_until(lambda payloads: {"behind": "it"} in payloads)


def test_closing_a_connection_never_touches_a_strangers_descriptor(open_server, socket_path):
    """Connections come and go in threads, while others use descriptors that have just become free."""
    server = open_server()
    ended = threading.Event()
    exchanged = Arrivals()

    def come_and_go(name):
        for number in range(150):
            with Stranger(socket_path) as first, Stranger(socket_path) as second:
                first.greet(name)
                second.greet(name)  # the server ends the first
                server.broadcast({"number": number})
                second.hear_until("message")

    def use_descriptors():
        while not ended.is_set():
            ours, theirs = socket.socketpair()
            with ours, theirs:
                theirs.settimeout(WITHIN_S)
                for _ in range(20):
                    ours.sendall(b"ours alone")
                    assert theirs.recv(100) == b"ours alone"
            exchanged(1)

    users = [threading.Thread(target=lambda: errors.append(_error_of(use_descriptors))) for _ in range(2)]
    errors = []
    for user in users:
        user.start()
    try:
        run_together(lambda: come_and_go("a"), lambda: come_and_go("b"), lambda: come_and_go("c"))
        exchanged.wait_for(11)
    finally:
        ended.set()
        for user in users:
            user.join()
    assert errors == [None, None]
    eventually(lambda: thread_names("ipc-peer") == [])
    assert server.stats["rejected"] == {}


def _error_of(function):
    try:
        function()
    except BaseException as error:  # noqa: BLE001 - the thread's end is told to the test
        return error
    return None
