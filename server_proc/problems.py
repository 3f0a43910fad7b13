"""Problems: what an HTTP error looks like (RFC 9457), and the exceptions that carry one.

Pure: knows neither Flask nor waitress, so that the host gate, the application and the answers to requests
that never reach the application all speak alike. Runs on whichever thread met the problem.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from http import HTTPStatus
from typing import Any, TypeVar

import msgspec

First = TypeVar("First")
Second = TypeVar("Second")

PROBLEM_TYPE = "application/problem+json"
# How many the sentence names; the list behind it is complete.
MAX_NAMES = 10


class FieldError(msgspec.Struct, frozen=True, omit_defaults=True):
    """One wrong field: its name as the client wrote it, what would have been right, and in a file the line it is on."""

    field: str
    message: str
    line: int | None = None


class ProblemError(Exception):
    """A request that cannot be fulfilled, in words for the one who sent it."""

    def __init__(self, status: int, detail: str, errors: Sequence[FieldError] = ()) -> None:
        super().__init__(f"{status} {detail}")
        self.status = status
        self.detail = detail
        self.errors = tuple(errors)


class WrongFieldsError(ProblemError):
    """The request was understood, but fields of it are wrong; all of them are listed."""

    def __init__(self, errors: Sequence[FieldError]) -> None:
        names = [error.field if error.line is None else f"{error.field} on line {error.line}" for error in errors]
        more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
        super().__init__(HTTPStatus.UNPROCESSABLE_ENTITY, f"Wrong: {', '.join(names[:MAX_NAMES])}{more}.", errors)


def both(first: Callable[[], First], second: Callable[[], Second]) -> tuple[First, Second]:
    """Return what the two return. Raises WrongFieldsError listing the wrong fields of either."""
    errors: list[FieldError] = []
    try:
        one = first()
    except WrongFieldsError as error:
        errors += error.errors
    try:
        other = second()
    except WrongFieldsError as error:
        errors += error.errors
    if errors:
        raise WrongFieldsError(errors)
    return one, other


def encode_problem(problem: ProblemError, request_id: str | None = None) -> bytes:
    """Encode the answer's body; the request id lets an operator find the log line."""
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(problem.status).phrase,
        "status": int(problem.status),
        "detail": problem.detail,
        "errors": problem.errors,
    }
    if request_id is not None:
        body["requestId"] = request_id
    return msgspec.json.encode(body)


@lru_cache
def status_line(status: int) -> str:
    """Return the status as WSGI wants it: "404 Not Found"."""
    return f"{int(status)} {HTTPStatus(status).phrase}"
