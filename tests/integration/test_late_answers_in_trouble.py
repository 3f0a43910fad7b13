"""Late answers whose client has gone, does not read, or meets the end of the server: whatever comes, all go on."""

import contextlib
import gc
import socket
import struct
import threading
import weakref
from concurrent.futures import Future

import pytest

from server_proc import http_server, late_answer
from server_proc.late_answer import LateBody, Ready
from server_proc.write_turn import PATIENCE_S
from tests.integration.test_server_http import FOR_EVER_S, Serving, read_answer
from tests.unit.ipc.channel import eventually
from tests.unit.server_proc.running_server import DEADLINE_S

pytestmark = pytest.mark.leak_checked

LATE = b"GET /late HTTP/1.1\r\nHost: localhost\r\n\r\n"
BIG = b"GET /big HTTP/1.1\r\nHost: localhost\r\n\r\n"
NOW = b"GET /now HTTP/1.1\r\nHost: localhost\r\n\r\n"
RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Application:
    """Answers /late once the test has given its future a result; says when it has been asked, and when it answers."""

    def __init__(self):
        self.futures = []
        self.asked = threading.Semaphore(0)
        self.begun = threading.Semaphore(0)
        self.big = b"b" * (4 << 20)

    def __call__(self, environ, start_response):
        if environ["PATH_INFO"] == "/late":
            future = Future()
            self.futures.append(future)
            self.asked.release()
            return LateBody(future, self._render, environ, start_response)
        body = self.big if environ["PATH_INFO"] == "/big" else b"now"
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body]

    def _render(self, future):
        self.begun.release()
        return Ready(200, "text/plain", future.result())

    def wait_until_asked(self, times=1):
        for _ in range(times):
            assert self.asked.acquire(timeout=DEADLINE_S)


@pytest.fixture
def listening():
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listening:
        yield listening


@pytest.fixture
def app(monkeypatch):
    monkeypatch.setattr(late_answer, "PATIENCE_S", FOR_EVER_S)
    return Application()


@pytest.fixture
def serving(app, listening):
    serving = Serving(app, listening.dup())
    yield serving
    for future in app.futures:
        future.cancel()
    serving.stop()


@pytest.fixture
def connect(listening):
    with contextlib.ExitStack() as stack:
        yield lambda: stack.enter_context(socket.create_connection(listening.getsockname(), timeout=DEADLINE_S))


def is_served(connect):
    raw = connect()
    raw.sendall(NOW)
    return read_answer(raw)[1] == b"now"


def read_bodies(raw, count):
    """Read answers to requests that were sent together."""
    bodies = []
    with raw.makefile("rb") as file:
        for _ in range(count):
            header = iter(file.readline, b"\r\n")
            [length] = [int(line.split()[1]) for line in header if line.startswith(b"Content-Length:")]
            bodies.append(file.read(length))
    return bodies


def go_away(raw):
    """Break the connection, as a client does that is killed."""
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    raw.close()


def test_what_is_done_after_the_end_writes_to_no_descriptor_of_somebody_else(app, listening, connect, monkeypatch):
    monkeypatch.setattr(http_server, "DRAIN_S", 0.1)
    serving = Serving(app, listening.dup())
    connect().sendall(LATE)
    app.wait_until_asked()
    serving.stop()
    with contextlib.ExitStack() as stack:
        ours = [socket.socketpair() for _ in range(8)]  # take the numbers that have become free
        for pair in ours:
            for each in pair:
                stack.enter_context(each)
                each.setblocking(False)
        app.futures[0].set_result(b"done")
        for each in (each for pair in ours for each in pair):
            with pytest.raises(BlockingIOError):
                each.recv(1)


def test_answers_that_a_client_does_not_read_do_not_stop_the_main_loop(serving, app, connect):
    slow = connect()
    slow.sendall(BIG + LATE + NOW + NOW)
    app.wait_until_asked()
    server = serving.server._server
    [channel] = server.active_channels.values()
    server.adj.outbuf_high_watermark = channel.total_outbufs_len  # as if so much were as much as one may be behind
    app.futures[0].set_result(b"done")
    assert app.begun.acquire(timeout=DEADLINE_S)
    assert is_served(connect)
    assert read_bodies(slow, 4) == [app.big, b"done", b"now", b"now"]


def test_clients_that_ask_on_and_do_not_read_keep_no_thread_from_others(serving, app, connect):
    count = 10
    slow = [connect() for _ in range(2 * http_server.THREADS)]
    for each in slow:
        each.sendall(BIG * count)
    held = serving.server._server.active_channels
    eventually(lambda: sum(channel.is_held for channel in held.values()) == len(slow))
    assert is_served(connect)
    assert read_bodies(slow[0], count) == [app.big] * count


def test_a_client_that_asks_on_and_never_reads_is_cut(serving, connect):
    serving.server._server.adj.channel_timeout = 0
    connect().sendall(BIG * 10)
    eventually(lambda: not serving.server._server.active_channels)


@pytest.mark.parametrize("become", [lambda future: future.set_result(b"done"), lambda future: future.cancel()])
def test_a_late_answer_is_begun_though_its_client_has_gone(serving, app, connect, become):
    gone = connect()
    gone.sendall(BIG + LATE)
    app.wait_until_asked()
    go_away(gone)
    eventually(lambda: not serving.server._server.active_channels)
    become(app.futures[0])
    assert app.begun.acquire(timeout=DEADLINE_S)
    assert is_served(connect)


def test_who_is_in_line_for_too_long_is_answered_before_the_end(app, listening, connect, monkeypatch):
    assert PATIENCE_S < http_server.DRAIN_S
    monkeypatch.setattr(late_answer, "PATIENCE_S", 0.5)
    monkeypatch.setattr(http_server, "DRAIN_S", FOR_EVER_S)
    serving = Serving(app, listening.dup())
    raw = connect()
    raw.sendall(LATE)
    app.wait_until_asked()
    serving.stop()
    assert read_answer(raw)[0].status == 503


@pytest.mark.usefixtures("serving")
def test_what_made_an_answer_late_is_not_kept(app, connect):
    raw = connect()
    gc.disable()  # it would find a cycle, but late
    try:
        raw.sendall(LATE)
        app.wait_until_asked()
        future = app.futures.pop()
        kept = weakref.ref(future)
        future.set_result(b"done")
        del future
        assert read_answer(raw)[1] == b"done"
        eventually(lambda: kept() is None)
    finally:
        gc.enable()


@pytest.mark.parametrize("error", [ZeroDivisionError("internal"), OSError("internal")])
@pytest.mark.usefixtures("serving")
def test_whatever_a_late_answer_raises_others_are_served(app, connect, error):
    raw = connect()
    raw.sendall(LATE)
    app.wait_until_asked()
    app.futures[0].set_exception(error)
    assert is_served(connect)
    assert read_answer(raw)[0].status == 500
