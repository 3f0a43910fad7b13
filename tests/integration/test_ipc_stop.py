"""The end: `stop()` comes back within a second from every state, and leaves no thread, descriptor or file."""

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import threading
from multiprocessing.connection import answer_challenge, deliver_challenge

import pytest
import structlog

from ipc import Limits, MemoryLog, RequestError, SocketServer, socket_client, socket_server
from tests.unit.ipc.channel import KEY, WITHIN_S, Arrivals, Listener, eventually, thread_names, time_of, unhurried
from tests.unit.ipc.stranger import Stranger

STOPS_WITHIN_S = 1.0
SLACK_S = 0.5  # a busy machine


def stop_in_time(stoppable):
    """Stop it, and fail if that takes longer than promised."""
    assert time_of(stoppable.stop) < STOPS_WITHIN_S + SLACK_S


def all_ends(prefix):
    """Wait until there is no such thread: on a busy machine it may need longer than `stop` waits for it."""
    eventually(lambda: thread_names(prefix) == [])


class Impostor:
    """Something that listens where a server should, and does what it is told with who connects."""

    def __init__(self, path, treat):
        self._treat = treat
        self._kept = []
        self.connected = Arrivals()
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(path)
        self._listening.listen(16)
        self._path = path
        self._thread = threading.Thread(target=self._accept_all, name="impostor", daemon=True)
        self._thread.start()

    def _accept_all(self):
        with contextlib.suppress(OSError, EOFError):
            while True:
                connected, _ = self._listening.accept()
                self._kept.append(connected)
                self.connected(connected)
                self._treat(connected)

    def close(self):
        self._listening.shutdown(socket.SHUT_RDWR)
        for sock in self._kept:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        for sock in [self._listening, *self._kept]:
            sock.close()
        os.unlink(self._path)


def keep_silent(_connected):
    pass


def authenticate_and_keep_silent(connected):
    """Do the listener's part, then never welcome anybody."""
    stranger = Stranger.__new__(Stranger)
    stranger.socket = connected
    deliver_challenge(stranger, KEY)
    answer_challenge(stranger, KEY)


def challenge_slowly(connected):
    connected.sendall(b"\0\0")


# -- clients -----------------------------------------------------------------------------------------------------------


def test_a_client_that_was_not_started(socket_path):
    listener = Listener(socket_path)
    stop_in_time(listener.client)
    assert listener.client.state.kind == "stopped"


def test_a_client_with_nobody_there(socket_path):
    listener = Listener(socket_path).start()
    listener.wait_for_state("waiting")
    stop_in_time(listener.client)
    listener.wait_for_state("stopped")
    all_ends("ipc")


def test_a_client_in_a_long_pause(socket_path):
    listener = Listener(socket_path, limits=Limits(retry_max_s=1000.0)).start()
    listener.states.wait_until(
        lambda states: states and states[-1].kind == "waiting" and (states[-1].retry_in_s or 0) > 0.3
    )
    stop_in_time(listener.client)
    assert listener.client.state.kind == "stopped"


@pytest.mark.parametrize("backlog", [0, 16])
def test_a_client_in_the_backlog_of_a_listener_that_never_accepts(socket_path, backlog):
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(socket_path)
        listening.listen(backlog)
        listeners = [Listener(socket_path).start() for _ in range(4)]  # more than fit into the smaller backlog
        for listener in listeners:
            listener.states.wait_until(lambda states: states)
        assert listeners[-1].states.stays_as_it_is(0.1) or backlog == 0
        for listener in listeners:
            stop_in_time(listener.client)
            assert listener.client.state.kind == "stopped"
    os.unlink(socket_path)


@pytest.mark.parametrize(
    ("treat", "state"),
    [(keep_silent, "connecting"), (challenge_slowly, "connecting"), (authenticate_and_keep_silent, "resuming")],
)
def test_a_client_whose_server_is_silent(socket_path, treat, state):
    impostor = Impostor(socket_path, treat)
    try:
        listener = Listener(socket_path).start()
        impostor.connected.wait_for(1)
        listener.wait_for_state(state)
        stop_in_time(listener.client)
        listener.wait_for_state("stopped")
    finally:
        impostor.close()


def test_a_client_that_is_live(open_server, open_client):
    server = open_server()
    listener = open_client().wait_live()
    stop_in_time(listener.client)
    listener.wait_for_state("stopped")
    assert listener.state_kinds == ["connecting", "resuming", "live", "stopped"]
    eventually(lambda: server.stats["peers"] == 0)


def test_a_client_says_bye(open_server, open_client, log_lines):
    open_server()
    open_client().wait_live().client.stop()
    [left] = log_lines.wait_for_event("peer_left")
    assert left["reason"] == "the client stops"


def test_a_client_that_is_stale(socket_path):
    """Nothing comes from the server any more: its process would be stopped, here its end is a bare socket."""

    def welcome_and_keep_silent(connected):
        authenticate_and_keep_silent(connected)
        connected.recv(4096)
        body = (
            b'{"op":"welcome","protocol":1,"epoch":"e","seq":0,"oldest":1,"resumed":false,"heartbeat_s":0.1,'
            b'"max_frame_bytes":1048576,"last_id":0}'
        )
        connected.sendall(len(body).to_bytes(4, "big") + body)

    impostor = Impostor(socket_path, welcome_and_keep_silent)
    try:
        listener = Listener(socket_path, limits=Limits(heartbeat_s=0.1)).start()
        listener.wait_for_state("stale")
        assert listener.client.send_message({"never": "acknowledged"})
        stop_in_time(listener.client)
    finally:
        impostor.close()


def test_a_client_that_is_unauthorized(open_server, socket_path):
    open_server()
    listener = Listener(socket_path, authkey=b"another key of thirty-two bytes!").start()
    listener.wait_for_state("unauthorized")
    stop_in_time(listener.client)
    assert listener.client.state.kind == "stopped"


def test_a_client_whose_socket_is_full(socket_path):
    """The other side reads nothing, and megabytes wait."""

    def welcome_and_read_nothing(connected):
        authenticate_and_keep_silent(connected)
        connected.recv(4096)
        body = (
            b'{"op":"welcome","protocol":1,"epoch":"e","seq":0,"oldest":1,"resumed":false,"heartbeat_s":5.0,'
            b'"max_frame_bytes":1048576,"last_id":0}'
        )
        connected.sendall(len(body).to_bytes(4, "big") + body)

    impostor = Impostor(socket_path, welcome_and_read_nothing)
    try:
        listener = Listener(socket_path).start().wait_live()
        for _ in range(12):
            assert listener.client.send_message({"text": "x" * 1_000_000})
        stop_in_time(listener.client)
        all_ends("ipc")
    finally:
        impostor.close()


def test_a_client_stopped_from_its_own_handler(open_server, open_client):
    server = open_server()
    listener = open_client().wait_live()
    took_s = Arrivals()

    @listener.client.add_message_handler
    def stop(_payload):
        took_s(time_of(listener.client.stop))

    server.broadcast("stop")
    assert took_s.wait_for(1)[0] < STOPS_WITHIN_S
    listener.wait_for_state("stopped")
    all_ends("ipc-client")


def test_a_client_stopped_and_started_by_its_own_handler_is_one_client(open_server, open_client):
    server = open_server()
    listener = open_client().wait_live()
    restarted = Arrivals()

    @listener.client.add_message_handler
    def restart(payload):
        if payload == {"do": "restart"}:
            listener.client.stop()
            listener.client.start()
            restarted(1)

    server.broadcast({"do": "restart"})
    restarted.wait_for(1)
    server.broadcast({"number": 1})
    assert listener.wait_for_payloads(2) == [{"do": "restart"}, {"number": 1}]
    eventually(lambda: len(thread_names("ipc-client")) == 1)
    assert listener.states.stays_as_it_is(0.2)
    listener.client.stop()
    all_ends("ipc-client")
    assert listener.seqs == [1, 2]


def test_a_client_whose_handler_does_not_return_can_be_started_again(open_server, open_client):
    """The thread that `stop` could not wait for ends by itself; it does not become a second client."""
    server = open_server()
    listener = open_client().wait_live()
    entered, gate = threading.Event(), threading.Event()

    @listener.client.add_message_handler
    def hold(payload):
        if payload == {"number": 1}:
            entered.set()
            gate.wait(WITHIN_S)

    server.broadcast({"number": 1})
    assert entered.wait(WITHIN_S)
    stop_in_time(listener.client)
    listener.client.start()
    gate.set()
    server.broadcast({"number": 2})
    listener.wait_for_payloads(2)
    eventually(lambda: len(thread_names("ipc-client")) == 1)
    assert listener.states.stays_as_it_is(0.2)
    assert listener.seqs == [1, 2]
    listener.client.stop()
    all_ends("ipc-client")


def test_a_client_that_was_stopped_says_so_whatever_its_handler_does(open_server, open_client):
    server = open_server()
    listener = open_client().wait_live()
    entered, gate = threading.Event(), threading.Event()

    @listener.client.add_message_handler
    def hold(_payload):
        entered.set()
        gate.wait(WITHIN_S)

    server.broadcast("hold")
    assert entered.wait(WITHIN_S)
    stop_in_time(listener.client)
    kind = listener.client.state.kind
    gate.set()
    assert kind == "stopped"


def test_order_is_kept_over_a_stop_that_did_not_wait_for_a_handler(open_server, open_client):
    """The handler is busy with the first message of a batch; what follows it is not overtaken."""
    server = open_server()
    listener = open_client().wait_live()
    gates = {0: threading.Event(), 1: threading.Event()}
    entered, handled = Arrivals(), Arrivals()

    @listener.client.add_message_handler
    def hold(payload):
        entered(payload["number"])
        if payload["number"] in gates:
            gates[payload["number"]].wait(WITHIN_S)
        handled(payload["number"])

    server.broadcast({"number": 0})
    entered.wait_for(1)
    for number in range(1, 101):
        server.broadcast({"number": number})
    gates[0].set()
    entered.wait_for(2)  # 1 to 100 came in one piece
    stop_in_time(listener.client)
    listener.client.start()
    server.broadcast({"number": 101})
    entered.stays_as_it_is(0.5)
    gates[1].set()
    assert handled.wait_for(102) == list(range(102))


@pytest.mark.parametrize("again", ["stop", "stop and start"])
def test_a_request_that_ends_because_of_a_stop_may_stop_and_start(open_server, open_client, again):
    release, outcomes = threading.Event(), Arrivals()
    server = open_server()
    server.on_request("slow")(lambda _payload: release.wait(WITHIN_S) and {})
    listener = open_client().wait_live()

    def on_reply(outcome):
        listener.client.stop()
        if again == "stop and start":
            listener.client.start()
        outcomes(outcome.code)

    listener.client.begin_request({"type": "slow"}, on_reply)
    stopper = threading.Thread(target=listener.client.stop, daemon=True)
    stopper.start()
    assert outcomes.wait_for(1) == ["stopped"]
    stopper.join(WITHIN_S)
    release.set()
    assert not stopper.is_alive()
    if again == "stop and start":
        listener.wait_live()


SIGNALLED_SCRIPT = """
import os, signal, sys, threading
from ipc import SocketClient, SocketServer

which, path = sys.argv[1:]
release, is_handled, live = threading.Event(), threading.Event(), threading.Event()
server, client = SocketServer(path), SocketClient(path)
stopped = server if which == "server" else client

def hang(payload):
    is_handled.set()
    release.wait(20)

def stop_again(*_):
    stopped.stop()
    print("inner stop returned", flush=True)

server.add_message_handler(hang)
client.add_state_handler(lambda state: live.set() if state.kind == "live" else None)
server.start()
client.start()
assert live.wait(20)
client.send_message({})
assert is_handled.wait(20)
signal.signal(signal.SIGTERM, stop_again)
acceptor = server._acceptor
wait = type(acceptor).threads if which == "server" else client._hub.all_acknowledged.wait

def signal_meanwhile(*arguments):
    os.kill(os.getpid(), signal.SIGTERM)
    return wait(*arguments)

if which == "server":
    type(acceptor).threads = signal_meanwhile
else:
    client._hub.all_acknowledged.wait = signal_meanwhile
stopped.stop()
print("stopped", flush=True)
release.set()
client.stop()
server.stop()
"""


@pytest.mark.parametrize("which", ["server", "client"])
def test_a_stop_from_a_signal_handler_in_the_middle_of_a_stop(socket_path, which):
    done = subprocess.run(
        [sys.executable, "-c", SIGNALLED_SCRIPT, which, socket_path],
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    assert done.stdout.split("\n")[:2] == ["inner stop returned", "stopped"]


@pytest.mark.parametrize("raised", [asyncio.CancelledError, KeyboardInterrupt, GeneratorExit])
@pytest.mark.usefixtures("log_lines")
def test_no_exception_of_a_handler_ends_the_clients_thread(open_server, open_client, raised):
    server = open_server()
    listener = open_client()

    @listener.client.add_message_handler
    def fail(payload):
        if payload["number"] == 1:
            raise raised

    listener.wait_live()
    for number in range(5):
        server.broadcast({"number": number})
    assert [payload["number"] for payload in listener.wait_for_payloads(5)] == [0, 1, 2, 3, 4]
    assert listener.client.state.kind == "live"


def block_traffic_lines(released):
    """Have whoever writes a line about a message wait until `released` is set, as for a reader that has stopped."""

    def block(_logger, _method, event):
        if event["event"] in ("message_sent", "message_received", "traffic"):
            released.wait(WITHIN_S)
        raise structlog.DropEvent

    structlog.configure(processors=[block])


@pytest.mark.usefixtures("log_lines")
def test_a_client_that_everything_holds_up_at_once(open_server):
    """Messages that nobody acknowledges, a handler that does not return, and a log that nobody reads."""
    release, handled = threading.Event(), Arrivals()
    block_traffic_lines(release)
    server = open_server()
    server.add_message_handler(lambda _payload: release.wait(WITHIN_S))
    listener = Listener(server.address)

    @listener.client.add_message_handler
    def hang(_payload):
        handled(1)
        release.wait(WITHIN_S)

    listener.start().wait_live()
    server.broadcast({"number": 1})
    handled.wait_for(1)
    for _ in range(60):
        listener.client.send_message({"text": "x" * 200_000})
    took_s = time_of(listener.client.stop)
    release.set()
    assert took_s < STOPS_WITHIN_S + SLACK_S / 4  # the sum of its waits is more than that


@pytest.mark.usefixtures("log_lines")
def test_a_server_that_everything_holds_up_at_once(open_server, open_client, socket_path):
    """Clients that do not read, a handler that does not return, and a log that nobody reads."""
    release, handled = threading.Event(), Arrivals()
    block_traffic_lines(release)
    server = open_server()

    @server.add_message_handler
    def hang(_payload):
        handled(1)
        release.wait(WITHIN_S)

    with contextlib.ExitStack() as strangers:
        for number in range(3):
            strangers.enter_context(Stranger(socket_path)).greet(f"stranger-{number}")
        for _ in range(60):
            server.broadcast({"text": "x" * 200_000})
        open_client().wait_live().client.send_message({})
        handled.wait_for(1)
        took_s = time_of(server.stop)
        release.set()
    assert took_s < STOPS_WITHIN_S + SLACK_S / 4


def test_start_and_stop_over_and_over(open_server, open_client):
    server = open_server()
    listener = open_client()
    for number in range(1, 31):
        if number % 3 == 0:
            listener.wait_live()
        listener.client.stop()
        listener.client.stop()
        server.broadcast({"number": number})
        listener.client.start()
        listener.client.start()
    listener.wait_live()
    server.broadcast({"number": "last"})
    listener.deliveries.wait_until(lambda messages: messages and messages[-1].payload == {"number": "last"})
    assert listener.seqs == list(range(listener.seqs[0], 32))


def test_many_threads_that_stop_at_once(open_server, open_client):
    open_server()
    listener = open_client().wait_live()
    threads = [threading.Thread(target=stop_in_time, args=(listener.client,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert listener.client.state.kind == "stopped"


def test_nothing_is_accepted_after_stop(open_server, open_client):
    open_server()
    client = open_client().wait_live().client
    client.stop()
    assert not client.send_message("too late")
    with pytest.raises(RequestError) as caught:
        client.request({"type": "late"})
    assert caught.value.code == "stopped"


def test_what_was_accepted_before_stop_arrives_if_the_server_is_there(open_server, open_client, monkeypatch):
    """For as long as `stop` has patience, which here is enough for any machine."""
    monkeypatch.setattr(socket_client, "_STOP_S", WITHIN_S)
    monkeypatch.setattr(socket_client, "_DRAIN_S", WITHIN_S)
    server = open_server()
    handled = Arrivals()
    server.add_message_handler(handled)
    client = open_client().wait_live().client
    for number in range(1000):
        assert client.send_message({"number": number})
    client.stop()
    assert [payload["number"] for payload in handled.items] == list(range(1000))


# -- servers -----------------------------------------------------------------------------------------------------------


def test_a_server_that_was_not_started(socket_path):
    server = SocketServer(socket_path, authkey=KEY)
    assert server.stats["peers"] == 0
    assert server.broadcast("nobody") == 0
    stop_in_time(server)


def test_a_server_with_nobody_there(open_server, socket_dir):
    server = open_server()
    stop_in_time(server)
    assert os.listdir(socket_dir) == []
    all_ends("ipc")
    stop_in_time(server)


def test_a_server_with_silent_strangers(open_server, socket_path):
    server = open_server()
    with contextlib.ExitStack() as stack:
        strangers = [stack.enter_context(Stranger(socket_path)) for _ in range(50)]
        for stranger in strangers[:25]:
            stranger.authenticate()
        stop_in_time(server)
        all_ends("ipc")
        for stranger in strangers:
            stranger.hear_to_the_end()


def test_a_server_with_clients_that_do_not_read(open_server, socket_path):
    server = open_server(limits=unhurried(log_bytes=256 << 20))
    with contextlib.ExitStack() as stack:
        for number in range(100):
            stack.enter_context(Stranger(socket_path)).greet(f"deaf {number}")
        for _ in range(6):
            server.broadcast({"text": "x" * 1_000_000})
        stop_in_time(server)
        all_ends("ipc")


def test_a_server_with_many_clients(open_server, open_client, monkeypatch):
    """What is left is sent for as long as `stop` has patience, which here is enough for any machine."""
    monkeypatch.setattr(socket_server, "_STOP_S", WITHIN_S)
    monkeypatch.setattr(socket_server, "_DRAIN_S", WITHIN_S)
    server = open_server()
    listeners = [open_client(name=f"{number}") for number in range(20)]
    for listener in listeners:
        listener.wait_live()
    for number in range(100):
        server.broadcast({"number": number})
    stop_in_time(server)
    for listener in listeners:
        listener.deliveries.wait_for(100)  # stop sends what is left
    all_ends("ipc-peer")


def test_a_server_says_bye(open_server, socket_path):
    server = open_server()
    with Stranger(socket_path) as stranger:
        stranger.greet()
        server.stop()
        assert stranger.hear_to_the_end()[-1] == {"op": "bye", "reason": "the server stops"}


def test_a_server_stopped_from_a_handler(open_server, open_client, socket_dir):
    server = open_server()
    took_s = Arrivals()

    @server.add_message_handler
    def stop(_payload):
        took_s(time_of(server.stop))

    listener = open_client().wait_live()
    listener.client.send_message("stop")
    assert took_s.wait_for(1)[0] < STOPS_WITHIN_S
    listener.client.stop()
    assert os.listdir(socket_dir) == []


def test_a_server_whose_handler_does_not_return_stops_all_the_same(open_server, open_client):
    server = open_server()
    entered, gate = threading.Event(), threading.Event()

    @server.add_message_handler
    def hold(_payload):
        entered.set()
        gate.wait(WITHIN_S)

    listener = open_client().wait_live()
    listener.client.send_message("hold")
    assert entered.wait(WITHIN_S)
    stop_in_time(server)
    gate.set()
    all_ends("ipc-peer")


def test_a_server_stopped_while_threads_broadcast(open_server, open_client):
    server = open_server()
    open_client().wait_live()
    ended = threading.Event()

    def broadcast():
        while not ended.is_set():
            server.broadcast({"text": "x" * 1000})

    threads = [threading.Thread(target=broadcast, name="broadcaster") for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(5):
            stop_in_time(server)
            all_ends("ipc-peer")
            server.start()
    finally:
        ended.set()
        for thread in threads:
            thread.join()


class GatedLog(MemoryLog):
    """A log that holds up whoever asks for its newest seq while the gate is shut."""

    def __init__(self):
        super().__init__()
        self.gate = threading.Event()
        self.gate.set()
        self.asked = threading.Semaphore(0)

    @property
    def newest(self):
        if threading.current_thread().name.startswith("ipc-peer"):
            self.asked.release()
            self.gate.wait(WITHIN_S)
        return self._newest

    @newest.setter
    def newest(self, number):
        self._newest = number


def test_a_client_that_comes_while_the_server_stops_is_not_kept(open_server, socket_path):
    """It has said hello and has not been taken up yet."""
    log = GatedLog()
    server = open_server(log=log)
    with Stranger(socket_path) as stranger:
        stranger.authenticate()
        log.gate.clear()
        stranger.say({"op": "hello", "protocol": 1, "client": "late"})
        assert log.asked.acquire(timeout=WITHIN_S)
        stop_in_time(server)
        log.gate.set()
        stranger.hear_to_the_end()
    all_ends("ipc-peer")
    assert server.stats["peers"] == 0


def test_a_server_whose_log_lines_go_nowhere_stops_all_the_same(socket_path, open_client):
    """Its log is a pipe that nobody reads any more, as when the launcher is stopped."""
    code = f"""
import os, sys, structlog
from tests.unit.ipc.channel import time_of
sys.stdin.readline()
reader, writer = os.pipe()
structlog.configure(
    processors=[structlog.processors.JSONRenderer()],
    logger_factory=structlog.PrintLoggerFactory(os.fdopen(writer, "w")),
)
from ipc import SocketServer
server = SocketServer({socket_path!r}, authkey={KEY!r})
server.start()
print("started", flush=True)
sys.stdin.readline()
os.set_blocking(writer, False)
try:
    while True:
        os.write(writer, b"x" * 4096)
except BlockingIOError:
    os.set_blocking(writer, True)
for number in range(10):
    server.broadcast({{"number": number}})
print(time_of(server.stop), flush=True)
os._exit(0)
"""
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as process:
        process.stdin.write("start\n")
        assert process.stdout.readline() == "started\n"
        listener = open_client().wait_live()
        process.stdin.write("fill\n")
        killer = threading.Timer(WITHIN_S, process.kill)
        killer.start()
        told = process.stdout.readline()
        killer.cancel()
        killer.join()
        listener.client.stop()
    assert told, "stop() did not come back"
    assert float(told) < STOPS_WITHIN_S + SLACK_S
