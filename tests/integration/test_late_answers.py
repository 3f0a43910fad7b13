"""Answers that are ready later, over real sockets: no thread waits for them, and all else is as with any answer."""

import http.client
import json
import socket
import threading
from concurrent.futures import Future

import pytest
from flask import Flask
from structlog.testing import capture_logs
from werkzeug.test import Client

from server_proc import http_channel, http_server, late_answer
from server_proc.database_errors import DatabaseBusyError, DatabaseFullError
from server_proc.error_answers import answer_errors
from server_proc.http_server import THREADS, HttpServer
from server_proc.late_answer import Ready, answer_late
from server_proc.problems import FieldError, WrongFieldsError
from server_proc.request_log import RequestLog
from tests.unit.ipc.channel import eventually
from tests.unit.server_proc.running_server import DEADLINE_S

pytestmark = pytest.mark.leak_checked

FOR_EVER_S = 10 * DEADLINE_S  # no test waits for that long

LATE = b"GET /late HTTP/1.1\r\nHost: localhost\r\n\r\n"
NOW = LATE.replace(b"late", b"now")


class Application:
    """Answers /late with what the test puts into a future, and everything else at once."""

    def __init__(self):
        self.futures = []
        self.ready = None
        self.is_begun = False
        self.has_future = threading.Semaphore(0)
        self.observed = []
        app = Flask("late", static_folder=None, template_folder=None)
        app.add_url_rule("/late", view_func=self._late)
        app.add_url_rule("/now", view_func=lambda: "now")
        answer_errors(app)
        self.wsgi_app = RequestLog(app.wsgi_app, lambda *what: self.observed.append(what))

    def _late(self):
        future = Future()
        if self.ready is not None:
            future.set_result(self.ready)
        if self.is_begun:
            future.set_running_or_notify_cancel()
        self.futures.append(future)
        self.has_future.release()
        return answer_late(future, lambda done: Ready(201, "text/plain", done.result()))

    def next_future(self):
        """Wait for one more request and return its future."""
        assert self.has_future.acquire(timeout=DEADLINE_S)
        return self.futures[-1]


class Serving:
    def __init__(self, app, listening):
        self.server = HttpServer(app, listening)
        self.thread = threading.Thread(target=self.server.run, name="http-under-test")
        self.thread.start()

    def stop(self):
        self.server.stop()
        self.thread.join(DEADLINE_S)
        assert not self.thread.is_alive()


@pytest.fixture
def app():
    return Application()


@pytest.fixture
def patient(monkeypatch):
    """A main loop that is not woken when it should be looks again after a minute only."""
    monkeypatch.setattr(http_server, "MAINTENANCE_S", 60.0)


@pytest.fixture
def serving(app, patient):  # noqa: ARG001
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listening:
        serving = Serving(app.wsgi_app, listening.dup())
        yield serving
        for future in app.futures:
            future.cancel()
        serving.stop()


@pytest.fixture
def connect(serving):
    """Return connections that have sent a request."""
    opened = []

    def connect(request=LATE):
        connection = socket.create_connection(serving.server.address, DEADLINE_S)
        opened.append(connection)
        connection.sendall(request)
        return connection

    yield connect
    for connection in opened:
        connection.close()


def answer_of(connection):
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    return answer.status, answer.read(), dict(answer.getheaders())


def statuses(logs):
    return [line["status"] for line in list(logs) if line["event"] == "request_handled"]


def test_more_may_wait_than_there_are_threads_and_each_gets_its_own_answer(app, connect):
    pairs = [(connect(), app.next_future()) for _ in range(3 * THREADS)]
    assert answer_of(connect(NOW))[:2] == (200, b"now")

    for number, (_, future) in reversed(list(enumerate(pairs))):
        future.set_result(b"%d" % number)
    for number, (connection, _) in enumerate(pairs):
        status, body, headers = answer_of(connection)
        assert (status, body) == (201, b"%d" % number)
        assert headers["X-Request-Id"]


def test_an_answer_goes_out_in_one_packet(app, connect, monkeypatch):
    sent = []
    send = http_channel.Channel.send
    monkeypatch.setattr(http_channel.Channel, "send", lambda *args, **opts: sent.append(args[1]) or send(*args, **opts))
    connection = connect()
    app.next_future().set_result(b"late")
    assert answer_of(connection)[1] == b"late"
    connection.sendall(NOW)
    assert answer_of(connection)[1] == b"now"

    assert [bytes(packet).rpartition(b"\r\n\r\n")[2] for packet in sent] == [b"late", b"now"]


def test_a_connection_is_kept_for_the_next_request(app, connect):
    connection = connect()
    for number in range(3):
        app.next_future().set_result(b"%d" % number)
        assert answer_of(connection)[1] == b"%d" % number
        connection.sendall(LATE)


def test_an_answer_that_is_ready_before_anybody_asks_for_it_is_sent(app, connect):
    app.ready = b"at once"

    assert answer_of(connect())[:2] == (201, b"at once")


def test_pipelined_requests_are_answered_in_their_order(app, connect):
    connection = connect(LATE + NOW + LATE)
    app.next_future().set_result(b"first")
    app.next_future().set_result(b"third")

    stream = connection.makefile("rb")
    bodies = []
    for _ in range(3):
        status_line = stream.readline()
        assert status_line.startswith(b"HTTP/1.1 20")
        length = 0
        while (line := stream.readline().lower()) != b"\r\n":
            if line.startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        bodies.append(stream.read(length))
    assert bodies == [b"first", b"now", b"third"]


@pytest.mark.parametrize(
    "request_", [b"GET /late HTTP/1.0\r\n\r\n", b"GET /late HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"]
)
def test_a_client_that_wants_it_closed_gets_the_answer_first(app, connect, request_):
    connection = connect(request_)
    app.next_future().set_result(b"bye")

    assert answer_of(connection)[:2] == (201, b"bye")
    assert connection.recv(1) == b""


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (WrongFieldsError([FieldError("id", "is wrong")]), 422),
        (DatabaseFullError("full"), 507),
        (DatabaseBusyError("locked"), 503),
        (ZeroDivisionError("internal detail"), 500),
    ],
)
def test_an_error_is_answered_as_a_problem_and_told_in_the_log(app, connect, error, status):
    with capture_logs() as logs:
        connection = connect()
        app.next_future().set_exception(error)
        found, body, headers = answer_of(connection)

    assert (found, json.loads(body)["status"], headers["Content-Type"]) == (status, status, "application/problem+json")
    assert b"internal detail" not in body
    failed = [line for line in logs if line["event"] == "request_failed"]
    assert [line["request_id"] for line in failed] == [headers["X-Request-Id"]] * (status != 422)
    connection.sendall(LATE)
    app.next_future().set_result(b"alive")
    assert answer_of(connection)[1] == b"alive"


def test_it_is_logged_and_counted_once_and_when_it_is_answered(app, connect):
    with capture_logs() as logs:
        connection = connect()
        future = app.next_future()
        assert not logs
        future.set_result(b"x")
        answer_of(connection)

    assert [(line["event"], line["status"]) for line in logs] == [("request_handled", 201)]
    assert [what[2] for what in app.observed] == [201]


def test_a_client_that_does_not_wait_harms_nobody(app, connect):
    gone = connect()
    future = app.next_future()
    gone.close()
    stays = connect()
    with capture_logs() as logs:
        future.set_result(b"nobody")
        app.next_future().set_result(b"here")
        assert answer_of(stays)[1] == b"here"
        assert answer_of(connect(NOW))[1] == b"now"
        # What was done for the one who has gone is logged too, if perhaps after that.
        eventually(lambda: sorted(statuses(logs)) == [200, 201, 201])


def test_what_was_done_for_a_connection_that_was_cut_is_logged(app, serving, connect):
    connection = connect()
    future = app.next_future()
    (channel,) = serving.server._server.active_channels.values()
    channel.handle_close()
    with capture_logs() as logs:
        future.set_result(b"nobody")
        assert answer_of(connect(NOW))[1] == b"now"
        eventually(lambda: sorted(statuses(logs)) == [200, 201])

    assert connection.recv(1) == b""


def test_work_that_is_in_line_for_too_long_is_given_up(app, connect, monkeypatch):
    monkeypatch.setattr(late_answer, "PATIENCE_S", 0.05)
    monkeypatch.setattr(http_server, "MAINTENANCE_S", 0.01)
    with capture_logs() as logs:
        connection = connect()
        future = app.next_future()
        status, body, _ = answer_of(connection)

    assert future.cancelled()
    assert (status, b"Nothing was stored" in body) == (503, True)
    assert [line["reason"] for line in logs if line["event"] == "request_failed"] == [
        "another write has been under way for 0.05 s"
    ]


def test_work_that_is_under_way_is_waited_for(app, connect, monkeypatch):
    monkeypatch.setattr(late_answer, "PATIENCE_S", 0.01)
    monkeypatch.setattr(http_server, "MAINTENANCE_S", 0.01)
    app.is_begun = True
    connection = connect()
    future = app.next_future()
    for _ in range(20):  # each is a turn of the main loop, which looks for what has taken too long
        assert answer_of(connect(NOW))[1] == b"now"
    future.set_result(b"in the end")
    assert answer_of(connection)[:2] == (201, b"in the end")


def test_what_is_in_flight_when_the_server_stops_is_answered_and_then_closed(app, serving, connect, monkeypatch):
    monkeypatch.setattr(late_answer, "PATIENCE_S", FOR_EVER_S)
    monkeypatch.setattr(http_server, "DRAIN_S", FOR_EVER_S)
    connection = connect()
    future = app.next_future()
    stopper = threading.Thread(target=serving.stop)
    stopper.start()
    eventually(lambda: serving.server._server.is_draining)
    future.set_result(b"last")

    status, body, headers = answer_of(connection)
    assert (status, body, headers["Connection"]) == (201, b"last", "close")
    assert connection.recv(1) == b""
    stopper.join(DEADLINE_S)
    assert not stopper.is_alive()


def test_a_server_that_does_not_know_of_them_waits(app, monkeypatch):
    monkeypatch.setattr(late_answer, "PATIENCE_S", DEADLINE_S)

    def finish():
        app.next_future().set_result(b"waited for")

    finisher = threading.Thread(target=finish)
    finisher.start()
    answer = Client(app.wsgi_app).get("/late")
    finisher.join()

    assert (answer.status_code, answer.data) == (201, b"waited for")


def test_there_too_it_is_given_up(app, monkeypatch):
    monkeypatch.setattr(late_answer, "PATIENCE_S", 0.01)

    assert Client(app.wsgi_app).get("/late").status_code == 503
