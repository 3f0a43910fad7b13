"""Reading a request's JSON object. Knows Flask's request; any task thread."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import msgspec
from flask import Request

from server_proc.problems import ProblemError

MAX_BODY_BYTES = 64 << 10
MAX_DEPTH = 32


def read_json_object(request: Request) -> dict[str, Any]:
    """Return the body as a dict. Raises ProblemError (400, 415); Flask raises 413 for us while reading."""
    if request.mimetype != "application/json":
        raise ProblemError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Send the body with Content-Type: application/json.")
    return decode_json_object(request.get_data(cache=False))


def decode_json_object(body: bytes) -> dict[str, Any]:
    """Return a JSON object as a dict. Raises ProblemError 400. Pure."""
    try:
        value = msgspec.json.decode(body)
        # Readers of a message recurse over it with less stack to spare than we have here.
        is_too_deep = _is_deeper_than(value, MAX_DEPTH)
    except RecursionError:
        is_too_deep = True
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ProblemError(HTTPStatus.BAD_REQUEST, f"The body is not JSON in UTF-8: {error}.") from error
    if is_too_deep:
        raise ProblemError(HTTPStatus.BAD_REQUEST, f"The body is nested deeper than {MAX_DEPTH} levels.")
    if not isinstance(value, dict):
        raise ProblemError(HTTPStatus.BAD_REQUEST, 'The body must be a JSON object, such as {"personId": "12345"}.')
    return value


def _is_deeper_than(value: object, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    children = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_is_deeper_than(child, levels - 1) for child in children)
