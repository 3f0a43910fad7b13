"""waitress as we run it: what it survives, and how it ends. Real sockets, a tiny application."""

import contextlib
import http.client
import json
import resource
import socket
import threading
import time

import pytest
from structlog.testing import capture_logs

from server_proc import http_channel, http_server
from server_proc.http_crowd import CONNECTION_LIMIT, CROWDED, raise_file_limit
from server_proc.http_server import HttpServer
from tests.unit.ipc.channel import eventually
from tests.unit.server_proc.running_server import DEADLINE_S, ask

pytestmark = pytest.mark.leak_checked

FOR_EVER_S = 10 * DEADLINE_S  # no test waits for that long

POST = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"


class Application:
    """Answers "done", after waiting at the gate where the path asks for it; says when somebody waits there."""

    def __init__(self):
        self.gate = threading.Event()
        self.waiting = threading.Semaphore(0)

    def __call__(self, environ, start_response):
        environ["wsgi.input"].read()
        if environ["PATH_INFO"] == "/wait":
            self.waiting.release()
            self.gate.wait(FOR_EVER_S)
        if environ["PATH_INFO"] == "/crash":
            raise ZeroDivisionError("internal detail")
        start_response("200 OK", [("Content-Length", "4")])
        return [b"done"]


class Serving:
    """An HttpServer on its own thread."""

    def __init__(self, app, listening):
        self.released = threading.Event()
        self.server = HttpServer(app, listening, self.released.set)
        self.thread = threading.Thread(target=self.server.run, name="http-under-test")
        self.thread.start()

    def stop(self):
        """Return how long the end has taken from the moment on when it was asked for."""
        started = time.monotonic()
        self.server.stop()
        self.join()
        return time.monotonic() - started

    def join(self):
        self.thread.join(DEADLINE_S)
        assert not self.thread.is_alive()


@pytest.fixture
def listening():
    """The launcher's socket: servers get a duplicate."""
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listening:
        yield listening


@pytest.fixture
def app():
    return Application()


@pytest.fixture
def serving(app, listening):
    serving = Serving(app, listening.dup())
    yield serving
    app.gate.set()
    serving.stop()


@pytest.fixture
def nobody_is_timed_out(serving, monkeypatch):
    """Connections stay, however long they are quiet or take to send a request."""
    serving.server._server.adj.channel_timeout = FOR_EVER_S
    monkeypatch.setattr(http_channel, "RECEIVE_S", FOR_EVER_S)


@pytest.fixture
def endless_end(monkeypatch):
    """At the end no time runs out: it comes when nothing holds it up any more, and not before."""
    monkeypatch.setattr(http_channel, "BUSY_S", FOR_EVER_S)
    monkeypatch.setattr(http_server, "GRACE_S", FOR_EVER_S)
    monkeypatch.setattr(http_server, "DRAIN_S", FOR_EVER_S)


@pytest.fixture
def many_files():
    """This process holds both ends of each connection."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    raise_file_limit()
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.fixture
def connect(listening):
    with contextlib.ExitStack() as stack:

        def connect():
            connection = http.client.HTTPConnection(*listening.getsockname(), timeout=DEADLINE_S)
            stack.callback(connection.close)
            return connection

        yield connect


@pytest.fixture
def connect_raw(listening):
    with contextlib.ExitStack() as stack:
        yield lambda: stack.enter_context(socket.create_connection(listening.getsockname(), timeout=DEADLINE_S))


def read_answer(raw):
    answer = http.client.HTTPResponse(raw)
    answer.begin()
    return answer, answer.read()


def problem(raw, status):
    answer, body = read_answer(raw)
    assert answer.status == status
    assert answer.getheader("Content-Type") == "application/problem+json"
    assert json.loads(body)["status"] == status
    return json.loads(body)


def begin_waiting(connections, app, path="/wait"):
    """Send a request on each connection and wait until the application is busy with as many as it has threads."""
    for connection in connections:
        connection.request("GET", path)
    for _ in range(min(len(connections), http_server.THREADS)):
        assert app.waiting.acquire(timeout=DEADLINE_S)


# -- serving -------------------------------------------------------------------------------------------------------


def test_requests_on_one_connection_are_answered_one_after_the_other(serving, connect):
    connection = connect()
    for expected in range(1, 4):
        assert ask(connection, "GET", "/").body == b"done"
        eventually(lambda expected=expected: serving.server.answered == expected)  # counted once it is out


@pytest.mark.usefixtures("serving")
def test_answers_do_not_wait_for_acknowledgements(listening):
    assert listening.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1


@pytest.mark.parametrize("start", [b"", b"POST /", POST % 100, POST % 100 + b"{"])
@pytest.mark.usefixtures("nobody_is_timed_out")
def test_110_half_open_requests_do_not_silence_it(connect, connect_raw, start):
    for _ in range(110):
        connect_raw().sendall(start)
    assert ask(connect(), "GET", "/").status == 200  # with waitress's own settings: not before they time out


@pytest.mark.usefixtures("many_files", "nobody_is_timed_out")
def test_more_half_open_requests_than_connections_do_not_silence_it(connect, connect_raw):
    kept = connect()
    ask(kept, "GET", "/")
    for _ in range(CONNECTION_LIMIT + 100):
        connect_raw().sendall(b"POST /")
    assert ask(connect(), "GET", "/").status == 200
    assert ask(kept, "GET", "/").status == 200  # who was served before keeps its connection


@pytest.mark.usefixtures("many_files")
def test_more_requests_at_once_than_connections_are_all_answered(listening, app, connect_raw):
    """As they wait where a server has died."""
    waiting = [connect_raw() for _ in range(CONNECTION_LIMIT + 100)]
    for raw in waiting:
        raw.sendall(b"GET /wait HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    serving = Serving(app, listening.dup())
    try:
        eventually(lambda: len(serving.server._server.active_channels) > CROWDED)
        app.gate.set()
        assert {read_answer(raw)[0].status for raw in waiting} == {200}
    finally:
        app.gate.set()
        serving.stop()


def test_a_connection_that_owes_nothing_any_more_is_known_to_be_answered(serving, connect):
    """Room may be made in between: it would go first, as one of those who were never answered."""
    server, seen = serving.server._server, []
    wake = server.pull_trigger

    def look_and_wake():
        seen.extend((channel.owes_nothing, channel.was_answered) for channel in server.active_channels.values())
        wake()

    server.pull_trigger = look_and_wake
    ask(connect(), "GET", "/")
    eventually(lambda: serving.server.answered == 1)
    assert (True, True) in seen
    assert (True, False) not in seen


@pytest.mark.parametrize("start", [b"GET /", POST % 60_000, POST % 60_000 + b"{"])
@pytest.mark.usefixtures("serving")
def test_a_request_that_arrives_byte_by_byte_is_answered_in_the_end(connect_raw, start, monkeypatch):
    monkeypatch.setattr(http_channel, "RECEIVE_S", 0.3)
    monkeypatch.setattr(http_server, "MAINTENANCE_S", 0.05)
    raw = connect_raw()
    raw.sendall(start)
    stop = threading.Event()

    def drip():
        while not stop.wait(0.02):
            try:
                raw.sendall(b"x")
            except OSError:
                return

    dripping = threading.Thread(target=drip)
    dripping.start()
    try:
        with capture_logs() as logs:
            problem(raw, 408)
    finally:
        stop.set()
        dripping.join()
    assert [line["status"] for line in logs if line["event"] == "request_refused"] == [408]


@pytest.mark.usefixtures("serving")
def test_a_connection_that_waits_between_requests_is_not_too_slow(connect, monkeypatch):
    monkeypatch.setattr(http_channel, "RECEIVE_S", 0.0)
    monkeypatch.setattr(http_server, "MAINTENANCE_S", 0.01)
    connection, other = connect(), connect()
    for _ in range(3):
        assert ask(connection, "GET", "/").status == 200
        assert ask(other, "GET", "/").status == 200


@pytest.mark.parametrize(
    "lines",
    [
        b"Authorization: Bearer axon_secret\n",
        b" Authorization: Bearer axon_secret",
        b"Authorization Bearer axon_secret",
        b"Authorization: Bearer axon_secret\x00",
    ],
)
@pytest.mark.usefixtures("serving")
def test_a_malformed_line_is_neither_logged_nor_sent_back(connect_raw, lines):
    raw = connect_raw()
    with capture_logs() as logs:
        raw.sendall(b"GET / HTTP/1.1\r\n" + lines + b"\r\nHost: localhost\r\n\r\n")
        body = problem(raw, 400)
    assert "secret" not in repr(logs) + repr(body)
    (refused,) = [line for line in logs if line["event"] == "request_refused"]
    assert refused["request_id"] == body["requestId"]


@pytest.mark.usefixtures("serving")
def test_a_client_that_leaves_in_the_middle_disturbs_nobody(app, connect, connect_raw):
    leaving = connect_raw()
    leaving.sendall(b"GET /wait HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert app.waiting.acquire(timeout=DEADLINE_S)
    leaving.close()
    app.gate.set()
    assert ask(connect(), "GET", "/").status == 200


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nbad header\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: -5\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n", 400),
        (b"GET http://[::1/ HTTP/1.1\r\n\r\n", 400),
        (b"GET http://[x]/ HTTP/1.1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 40_000 + b"\r\n\r\n", 431),
        (POST % 3_000_000, 413),
    ],
)
@pytest.mark.usefixtures("serving")
def test_what_never_reaches_the_application_is_a_problem_too(connect_raw, request_bytes, status):
    raw = connect_raw()
    with capture_logs() as logs:
        raw.sendall(request_bytes)
        problem(raw, status)
    assert [line["status"] for line in logs if line["event"] == "request_refused"] == [status]


@pytest.mark.usefixtures("serving")
def test_an_application_that_raises_is_a_problem_without_internals(connect_raw):
    raw = connect_raw()
    raw.sendall(b"GET /crash HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert "internal detail" not in str(problem(raw, 500))


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.usefixtures("serving")
def test_a_client_that_sends_far_too_much_can_still_read_why(connect_raw, monkeypatch, framing):
    monkeypatch.setattr(http_channel, "DISCARD_S", FOR_EVER_S)
    raw = connect_raw()
    size_bytes = 8 << 20
    if framing == "length":
        raw.sendall(POST % size_bytes + b"x" * size_bytes)
    else:
        chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
        head = b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        raw.sendall(head + chunk * (size_bytes // 0x10000) + b"0\r\n\r\n")
    assert problem(raw, 413)["detail"] == http_channel.TOO_LARGE
    assert "65536" in http_channel.TOO_LARGE
    assert "1048576" in http_channel.TOO_LARGE


@pytest.mark.usefixtures("serving")
def test_a_client_that_never_stops_sending_is_cut(connect_raw, monkeypatch):
    monkeypatch.setattr("server_proc.http_channel.DISCARD_S", 0.05)
    raw = connect_raw()
    raw.sendall(POST % (1 << 40))
    chunk = b"x" * 65536

    def send_until_cut():
        end = time.monotonic() + DEADLINE_S
        while time.monotonic() < end:
            raw.sendall(chunk)

    with pytest.raises(OSError, match=r"reset|Broken pipe"):
        send_until_cut()


# -- the end -------------------------------------------------------------------------------------------------------


def test_a_server_that_waits_is_woken_by_the_stop(app, listening, monkeypatch):
    entered = threading.Event()
    loop = http_server.wasyncore.loop
    monkeypatch.setattr(http_server, "MAINTENANCE_S", FOR_EVER_S)
    monkeypatch.setattr(http_server.wasyncore, "loop", lambda **options: (entered.set(), loop(**options)))
    serving = Serving(app, listening.dup())
    assert entered.wait(DEADLINE_S)
    serving.stop()


def test_an_idle_connection_does_not_hold_up_the_end(serving, connect, monkeypatch):
    monkeypatch.setattr(http_server, "DRAIN_S", FOR_EVER_S)
    connection = connect()
    ask(connection, "GET", "/")
    serving.stop()
    with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
        ask(connection, "GET", "/")


def test_stopping_before_and_after_running_and_twice_is_harmless(app, listening):
    server = HttpServer(app, listening.dup())
    server.stop()
    server.run()
    server.stop()
    server.stop()


def test_after_the_end_no_descriptor_of_somebody_else_is_written_to(app, listening):
    server = HttpServer(app, listening.dup())
    server.stop()
    server.run()
    reader, writer = socket.socketpair()  # very likely gets the numbers of the trigger's pipe
    with reader, writer:
        server.stop()
        reader.setblocking(False)
        with pytest.raises(BlockingIOError):
            reader.recv(1)


@pytest.mark.usefixtures("endless_end")
def test_a_connection_that_was_busy_is_told_with_its_next_answer_that_it_ends(serving, connect):
    connection = connect()
    ask(connection, "GET", "/")
    serving.server.stop()
    assert serving.released.wait(DEADLINE_S)
    connection.request("GET", "/")
    answer = connection.getresponse()
    assert (answer.read(), answer.getheader("Connection")) == (b"done", "close")
    serving.join()


@pytest.mark.usefixtures("endless_end")
def test_whoever_waits_in_the_backlog_at_the_end_is_answered(app, listening, connect):
    """Connected and asked before the stop: no matter that nobody had accepted yet."""
    early = [connect() for _ in range(20)]
    for connection in early:
        connection.request("GET", "/")
    server = HttpServer(app, listening.dup())
    server.stop()
    server.run()
    for connection in early:
        assert connection.getresponse().read() == b"done"


@pytest.mark.usefixtures("endless_end")
def test_what_is_being_handled_and_what_is_queued_is_answered_before_the_end(serving, app, connect):
    connections = [connect() for _ in range(http_server.THREADS + 4)]
    for connection in connections:
        ask(connection, "GET", "/")  # accepted, so that what is sent now has been received by this server
    begin_waiting(connections, app)
    serving.server.stop()
    app.gate.set()
    for connection in connections:
        answer = connection.getresponse()
        assert answer.read() == b"done"
        assert answer.getheader("Connection") == "close"
    serving.join()


@pytest.mark.usefixtures("endless_end")
def test_a_request_whose_rest_is_on_its_way_is_answered(serving, connect, connect_raw):
    raw = connect_raw()
    raw.sendall(POST % 4)
    other = connect()
    ask(other, "GET", "/")  # the loop has seen the beginning by now
    other.close()
    serving.server.stop()
    raw.sendall(b"body")
    assert read_answer(raw)[1] == b"done"
    serving.join()


def test_a_request_that_takes_longer_than_the_grace_to_arrive_is_answered(serving, connect, connect_raw, monkeypatch):
    """A card reader that was offline posts its batch over a slow line."""
    monkeypatch.setattr(http_server, "GRACE_S", 0)
    monkeypatch.setattr(http_server, "DRAIN_S", FOR_EVER_S)
    monkeypatch.setattr(http_channel, "BUSY_S", FOR_EVER_S)
    slow, idle = connect_raw(), connect()
    slow.sendall(POST % 4)
    ask(idle, "GET", "/")  # the loop has seen the beginning by now
    serving.server.stop()
    assert idle.sock.recv(1) == b""  # so the grace is over, and who has no reason to stay was told to go
    slow.sendall(b"body")
    assert read_answer(slow)[1] == b"done"
    serving.join()


def test_a_request_that_never_ends_holds_it_up_for_the_grace_only(serving, connect, connect_raw, monkeypatch):
    monkeypatch.setattr(http_server, "DRAIN_S", FOR_EVER_S)
    connect_raw().sendall(POST % 4)
    ask(connect(), "GET", "/")
    assert serving.stop() >= http_server.GRACE_S


def test_a_request_that_is_stuck_holds_it_up_for_the_limit_only(serving, app, connect, monkeypatch):
    monkeypatch.setattr(http_server, "DRAIN_S", 0.3)
    begin_waiting([connect()], app)
    serving.stop()


def test_the_main_loop_does_not_spin_while_a_task_thread_sends(app, listening, connect):
    """It would keep the interpreter from the very thread that it waits for."""
    server = HttpServer(app, listening.dup())
    connect().connect()
    while not server._server.active_channels:
        server._poll(DEADLINE_S)
    [channel] = server._server.active_channels.values()
    channel.total_outbufs_len = 1
    held, release = threading.Event(), threading.Event()

    def send():
        with channel.outbuf_lock:
            held.set()
            release.wait(DEADLINE_S)

    sender = threading.Thread(target=send)
    sender.start()
    assert held.wait(DEADLINE_S)
    assert not channel.writable()
    release.set()
    sender.join()
    assert channel.writable()
    channel.total_outbufs_len = 0
    assert not channel.writable()
    server.stop()
    server.run()


@pytest.mark.usefixtures("endless_end")
def test_a_request_that_has_arrived_but_was_not_read_yet_is_answered(app, listening, connect):
    server = HttpServer(app, listening.dup())
    connection = connect()
    connection.request("GET", "/")
    while not server.answered:
        server._poll(0.01)  # it is counted once it is out, and the loop is woken before that
    assert connection.getresponse().read() == b"done"
    connection.request("GET", "/")  # waits in the kernel's buffer, since nobody polls
    server.stop()
    server.run()
    assert connection.getresponse().read() == b"done"


def test_connections_that_come_during_the_end_are_served_by_the_successor(app, listening, serving, connect):
    idle = connect()
    ask(idle, "GET", "/")
    begin_waiting([connect()], app)
    serving.server.stop()
    assert idle.sock.recv(1) == b""  # it was closed: the end has begun
    late = connect()
    late.request("GET", "/who")
    app.gate.set()
    serving.join()

    def successor_app(_environ, start_response):
        start_response("200 OK", [("Content-Length", "9")])
        return [b"successor"]

    successor = Serving(successor_app, listening.dup())
    assert late.getresponse().read() == b"successor"
    successor.stop()
