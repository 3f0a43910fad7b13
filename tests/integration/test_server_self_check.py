"""The server's request to itself."""

import socket
import threading

import pytest
from structlog.testing import capture_logs

from server_proc import self_check
from server_proc.http_server import THREADS, HttpServer
from server_proc.self_check import SelfCheck, SelfCheckEvents
from tests.unit.server_proc.running_server import DEADLINE_S

pytestmark = pytest.mark.leak_checked

FOR_EVER_S = 10 * DEADLINE_S  # no test waits for that long


class Told:
    """Remembers what the check reported."""

    def __init__(self):
        self.begun = threading.Event()
        self.ready = threading.Event()
        self.failed = threading.Event()
        self.alive = threading.Semaphore(0)

    def events(self):
        return SelfCheckEvents(begin=self.begin, ready=self.ready.set, alive=self.alive.release, failed=self.failed.set)

    def begin(self):
        self.begun.set()
        return True

    def is_alive(self, timeout_s):
        return self.alive.acquire(timeout=timeout_s)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(self_check, "INTERVAL_S", 0.02)
    monkeypatch.setattr(self_check, "PATIENCE_S", 0.2)
    monkeypatch.setattr(self_check, "FIRST_PATIENCE_S", DEADLINE_S)


@pytest.fixture
def told():
    return Told()


@pytest.fixture
def listening():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


@pytest.fixture
def gate():
    """Open: the application answers. Closed: it hangs."""
    gate = threading.Event()
    gate.set()
    return gate


@pytest.fixture
def server(listening, gate):
    def app(environ, start_response):
        if environ["PATH_INFO"] in ("/healthz", "/hang"):
            gate.wait(DEADLINE_S)
        start_response("200 OK", [("Content-Length", "0")])
        return [b""]

    server = HttpServer(app, listening.dup())
    thread = threading.Thread(target=server.run)
    thread.start()
    yield server
    gate.set()
    server.stop()
    thread.join(DEADLINE_S)


@pytest.fixture
def make_check(listening, told):
    checks = []

    def make_check(answered):
        check = SelfCheck(listening.getsockname(), answered, told.events())
        checks.append(check)
        check.start()
        return check

    yield make_check
    for check in checks:
        check.join()


def has_ended(check):
    check._thread.join(DEADLINE_S)
    return not check._thread.is_alive()


def test_it_is_ready_after_an_answer_and_alive_from_then_on(server, make_check, told):
    check = make_check(lambda: server.answered)
    assert told.ready.wait(DEADLINE_S)
    assert all(told.is_alive(DEADLINE_S) for _ in range(3))
    check.join()
    assert not check.has_failed
    assert not told.failed.is_set()


def test_nobody_answering_is_a_failure_and_not_ready(make_check, told, monkeypatch):
    monkeypatch.setattr(self_check, "FIRST_PATIENCE_S", 0.2)
    with capture_logs() as logs:
        check = make_check(lambda: 0)
        assert told.failed.wait(DEADLINE_S)
    assert check.has_failed
    assert not told.begun.is_set()
    assert not told.ready.is_set()
    assert "self_check_failed" in [line["event"] for line in logs]


def test_a_connection_that_is_cut_at_first_is_no_failure(make_check, told, listening):
    check = make_check(lambda: 0)
    listening.settimeout(DEADLINE_S)
    listening.accept()[0].close()
    with listening.accept()[0] as again:
        again.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        assert told.ready.wait(DEADLINE_S)
        check.join()
    assert not check.has_failed


def test_answers_that_each_close_their_connection_are_answers_too(make_check, told, listening):
    listening.settimeout(DEADLINE_S)

    def answer_and_close():
        for _ in range(3):
            connected, _ = listening.accept()
            with connected:
                assert connected.recv(4096).startswith(b"GET /healthz")
                connected.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    answering = threading.Thread(target=answer_and_close)
    answering.start()
    make_check(lambda: 0)
    assert all(told.is_alive(DEADLINE_S) for _ in range(3))
    answering.join(DEADLINE_S)


def test_a_server_whose_threads_all_hang_is_not_alive_and_alive_again_when_they_go_on(
    server, gate, make_check, told, listening
):
    make_check(lambda: server.answered)
    assert told.ready.wait(DEADLINE_S)
    gate.clear()
    stuck = [socket.create_connection(listening.getsockname()) for _ in range(THREADS)]
    for connection in stuck:
        connection.sendall(b"GET /hang HTTP/1.1\r\nHost: localhost\r\n\r\n")
    while told.is_alive(1.0):
        pass  # what was reported before it hung
    gate.set()
    assert told.is_alive(DEADLINE_S)
    for connection in stuck:
        connection.close()


@pytest.mark.usefixtures("server")
def test_a_server_that_answers_others_is_alive_though_our_own_request_waits(gate, make_check, told):
    others = iter(range(10**9))
    make_check(lambda: next(others))
    assert told.ready.wait(DEADLINE_S)
    gate.clear()
    while told.alive.acquire(blocking=False):
        pass
    assert all(told.is_alive(DEADLINE_S) for _ in range(3))


def test_cancelling_ends_it_at_once_also_in_the_middle_of_a_request(make_check, told, monkeypatch):
    monkeypatch.setattr(self_check, "FIRST_PATIENCE_S", FOR_EVER_S)
    entered = threading.Event()
    connect = self_check.http.client.HTTPConnection.connect
    monkeypatch.setattr(self_check.http.client.HTTPConnection, "connect", lambda self: (connect(self), entered.set()))
    check = make_check(lambda: 0)
    assert entered.wait(DEADLINE_S)
    check.cancel()
    assert has_ended(check)
    assert not told.failed.is_set()
    assert not told.ready.is_set()


def test_cancelling_ends_it_at_once_also_while_it_connects(make_check, told, monkeypatch):
    monkeypatch.setattr(self_check, "FIRST_PATIENCE_S", FOR_EVER_S)
    connecting, cancelled = threading.Event(), threading.Event()
    connect = self_check.http.client.HTTPConnection.connect

    def connect_late(connection):
        connecting.set()
        assert cancelled.wait(DEADLINE_S)
        connect(connection)

    monkeypatch.setattr(self_check.http.client.HTTPConnection, "connect", connect_late)
    check = make_check(lambda: 0)
    assert connecting.wait(DEADLINE_S)
    check.cancel()
    cancelled.set()
    assert has_ended(check)
    assert not told.failed.is_set()
    assert not told.ready.is_set()


def test_cancelling_is_harmless_while_the_connection_is_being_closed(told):
    class Closing:
        """Its socket is there when it is looked at first, and gone after that."""

        def __init__(self, sock):
            self._socks = iter([sock, None])

        @property
        def sock(self):
            return next(self._socks)

    ours, theirs = socket.socketpair()
    with ours, theirs:
        check = SelfCheck(("127.0.0.1", 0), lambda: 0, told.events())
        check._connection = Closing(ours)
        check.cancel()
        assert theirs.recv(1) == b""


@pytest.mark.usefixtures("server")
def test_a_crash_of_the_check_itself_is_logged_and_a_failure(make_check, told):
    def broken():
        raise ZeroDivisionError

    with capture_logs() as logs:
        check = make_check(broken)
        assert told.failed.wait(DEADLINE_S)
    assert check.has_failed
    assert "self_check_crashed" in [line["event"] for line in logs]
