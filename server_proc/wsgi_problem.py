"""Answering with a problem before the application is reached. Knows WSGI alone; task threads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from server_proc.problems import PROBLEM_TYPE, ProblemError, encode_problem, status_line
from server_proc.request_log import REQUEST_ID

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


def refuse(
    environ: WSGIEnvironment,
    start_response: StartResponse,
    problem: ProblemError,
    headers: tuple[tuple[str, str], ...] = (),
) -> list[bytes]:
    """Start the answer and return its body."""
    body = encode_problem(problem, environ.get(REQUEST_ID))
    start_response(
        status_line(problem.status),
        [("Content-Type", PROBLEM_TYPE), ("Content-Length", str(len(body))), *headers],
    )
    return [body]
