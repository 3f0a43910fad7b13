"""One line per request."""

import pytest
from structlog.testing import capture_logs

from server_proc.request_log import REQUEST_ID, ROUTE, RequestLog


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
