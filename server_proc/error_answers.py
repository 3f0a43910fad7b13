"""Every error that leaves the application leaves it as a problem. Task threads."""

from __future__ import annotations

from http import HTTPStatus

import structlog
from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from server_proc.database_errors import DatabaseError, DatabaseFullError
from server_proc.problems import PROBLEM_TYPE, ProblemError, encode_problem
from server_proc.request_log import REQUEST_ID

log = structlog.get_logger()

_DETAILS = {
    HTTPStatus.NOT_FOUND: "There is nothing at this path.",
    HTTPStatus.METHOD_NOT_ALLOWED: "This path does not have that method; Allow lists those that it has.",
}


def answer_errors(app: Flask) -> None:
    """Register the handlers: what a blueprint raises need not be caught there."""
    app.register_error_handler(HTTPException, _answer_werkzeug)
    app.register_error_handler(Exception, _answer_error)


def problem_of(error: Exception, request_id: str | None) -> ProblemError:
    """Return what the client is told of an error; what the operator must know goes to the log."""
    if isinstance(error, ProblemError):
        return error
    if isinstance(error, DatabaseError):
        log.error("request_failed", reason=str(error), request_id=request_id)
        if isinstance(error, DatabaseFullError):
            status, detail = HTTPStatus.INSUFFICIENT_STORAGE, "Nothing was stored: the server's disk is full."
        else:
            status, detail = HTTPStatus.SERVICE_UNAVAILABLE, "Nothing was stored: the database cannot be used now."
        return ProblemError(status, f"{detail} Send it again later.")
    log.error("request_failed", exc_info=error, request_id=request_id)
    return ProblemError(HTTPStatus.INTERNAL_SERVER_ERROR, "The server failed; its log says why.")


def _answer_error(error: Exception) -> Response:
    return _answer(problem_of(error, request.environ.get(REQUEST_ID)))


def _answer(problem: ProblemError) -> Response:
    body = encode_problem(problem, request.environ.get(REQUEST_ID))
    return Response(body, status=problem.status, content_type=PROBLEM_TYPE)


def _answer_werkzeug(error: HTTPException) -> Response:
    status = HTTPStatus(error.code or HTTPStatus.INTERNAL_SERVER_ERROR)
    answer = _answer(ProblemError(status, _detail(status)))
    # Its other headers mean something too (Allow, Retry-After); the length and type are those of its own body.
    for name, value in error.get_headers(request.environ):
        if name.lower() not in ("content-type", "content-length"):
            answer.headers[name] = value
    return answer


def _detail(status: HTTPStatus) -> str:
    if status is HTTPStatus.REQUEST_ENTITY_TOO_LARGE:  # the limit is that of the route
        return f"The body may have at most {request.max_content_length} bytes."
    return _DETAILS.get(status, f"{status.description or status.phrase}.")
