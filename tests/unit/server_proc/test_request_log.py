"""One line per request."""

import random

import pytest
from structlog.testing import capture_logs

from server_proc.request_log import DEVICE, REQUEST_ID, ROUTE, RequestLog, request_id_of


def call(app):
    started = []
    times = iter([10.0, 10.0123456])
    environ = {"REQUEST_METHOD": "POST", "PATH_INFO": "/api/people/12345"}
    with capture_logs() as logs:
        try:
            RequestLog(app, clock=lambda: next(times))(environ, lambda *answer: started.append(answer))
        except ZeroDivisionError:
            pass
    return environ, started, logs


def test_a_request_is_one_line_with_its_route_and_never_its_path():
    def app(environ, start_response):
        environ[ROUTE] = "/api/people/<id>"
        start_response("201 Created", [("A", "b")])
        return [b""]

    environ, started, logs = call(app)
    request_id = environ[REQUEST_ID]
    assert logs == [
        {
            "event": "request_handled",
            "log_level": "info",
            "method": "POST",
            "route": "/api/people/<id>",
            "status": 201,
            "duration_ms": 12.346,
            "request_id": request_id,
        }
    ]
    assert started[0][1] == [("A", "b"), ("X-Request-Id", request_id)]


@pytest.mark.parametrize("route", ["/healthz", "/readyz"])
def test_health_checks_are_logged_at_debug(route):
    def app(environ, start_response):
        environ[ROUTE] = route
        start_response("200 OK", [])
        return []

    assert [line["log_level"] for line in call(app)[2]] == ["debug"]


def test_an_application_that_raises_is_logged_as_500():
    def app(*_arguments):
        raise ZeroDivisionError

    (line,) = call(app)[2]
    assert (line["status"], line["route"]) == (500, None)


def test_every_request_has_its_own_id():
    def app(_environ, start_response):
        start_response("200 OK", [])
        return []

    assert call(app)[0][REQUEST_ID] != call(app)[0][REQUEST_ID]


@pytest.mark.parametrize("given", ["a", "reader-7:0042", "f47ac10b-58cc-4372-a567-0e02b2c3d479", "x" * 64])
def test_the_clients_own_id_is_taken_over(given):
    assert request_id_of(given) == given


@pytest.mark.parametrize("given", [None, "", " a", "a b", 'a"', "a\n", "é", "-", "a, b", "<script>", "x" * 65])
def test_an_id_that_could_forge_something_is_not(given):
    made = request_id_of(given)
    assert made != given
    assert len(made) == 16
    assert request_id_of(given) != made


def test_what_was_handled_is_told_to_the_observer():
    seen = []

    def app(environ, start_response):
        environ[ROUTE], environ[DEVICE] = "/x", "door"
        start_response("404 Not Found", [])
        return []

    times = iter([1.0, 1.5])
    log = RequestLog(app, lambda *what: seen.append(what), clock=lambda: next(times))
    with capture_logs() as logs:
        log({"REQUEST_METHOD": "GET", "HTTP_X_REQUEST_ID": "mine"}, lambda *_answer: None)
    assert seen == [("GET", "/x", 404, 0.5)]
    assert (logs[0]["device"], logs[0]["request_id"]) == ("door", "mine")


def test_request_ids_stay_unique_where_somebody_sets_the_random_generator_back():
    ids = []
    for _ in range(2):
        random.seed(1)
        ids.append(request_id_of(None))
    assert ids[0] != ids[1]
