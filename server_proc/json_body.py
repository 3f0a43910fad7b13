"""Reading a request's body, within its limit, and its JSON object. Knows Flask's request; any task thread."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

import msgspec
from flask import Request

from server_proc.problems import ProblemError

MAX_BODY_BYTES = 64 << 10
# For a batch or a file: 500 marks take 64 KiB even with short names, and up to 800 KiB with the longest.
MAX_BULK_BYTES = 1 << 20
MAX_DEPTH = 32
JSON_TYPE = "application/json"


def read_json_object(request: Request, max_bytes: int = MAX_BODY_BYTES) -> dict[str, Any]:
    """Return the body as a dict. Raises ProblemError (400, 415); Flask raises 413 for us while reading."""
    return decode_json_object(read_body(request, JSON_TYPE, max_bytes))


def read_body(request: Request, content_type: str, max_bytes: int) -> bytes:
    """Return the body as it came. Raises ProblemError 415; Flask raises 413 for us while reading."""
    environ = request.environ
    # A glance at the header as it is usually sent; parsing it takes longer than the rest of this function.
    if environ.get("CONTENT_TYPE") != content_type and request.mimetype != content_type:
        raise ProblemError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"Send the body with Content-Type: {content_type}.")
    if environ.get("HTTP_CONTENT_ENCODING", "identity").lower() != "identity":
        raise ProblemError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Send the body as it is, without Content-Encoding.")
    length = environ.get("CONTENT_LENGTH", "")
    if length.isdecimal() and int(length) <= max_bytes:
        return bytes(environ["wsgi.input"].read(int(length)))  # it is all there: waitress reads ahead
    request.max_content_length = max_bytes
    return request.get_data(cache=False)


def decode_json_object(body: bytes) -> dict[str, Any]:
    """Return a JSON object as a dict. Raises ProblemError 400. Pure."""
    try:
        value = msgspec.json.decode(body)
        # Readers of a message recurse over it with less stack to spare than we have here.
        is_shallow = body.count(b"{") + body.count(b"[") <= MAX_DEPTH
        is_too_deep = not is_shallow and _is_deeper_than(value, MAX_DEPTH)
    except RecursionError:
        is_too_deep = True
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ProblemError(HTTPStatus.BAD_REQUEST, f"The body is not JSON in UTF-8: {error}.") from error
    if is_too_deep:
        raise ProblemError(HTTPStatus.BAD_REQUEST, f"The body is nested deeper than {MAX_DEPTH} levels.")
    if not isinstance(value, dict):
        raise ProblemError(HTTPStatus.BAD_REQUEST, 'The body must be a JSON object, such as {"personId": "12345"}.')
    _refuse_repeated_names(body)
    return value


def _is_deeper_than(value: object, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    children = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_is_deeper_than(child, levels - 1) for child in children)


def _refuse_repeated_names(body: bytes) -> None:
    """Raise ProblemError 400 for `{"personId": "1", "personId": "2"}`.

    Decoders differ in which of the two they keep. msgspec cannot be asked; this costs 2 us for a mark.
    """
    _NAME_CHECKER.decode(body.decode())


def _distinct(members: list[tuple[str, object]]) -> None:
    if len(dict(members)) == len(members):
        return
    seen: set[str] = set()
    for name, _ in members:
        if name in seen:
            raise ProblemError(HTTPStatus.BAD_REQUEST, f"The body has {json.dumps(name)} twice in one object.")
        seen.add(name)


_NAME_CHECKER = json.JSONDecoder(object_pairs_hook=_distinct, parse_int=len, parse_float=len)
