"""Answering with JSON. Knows Flask's response; any task thread."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import msgspec
from flask import Response

from server_proc.json_body import JSON_TYPE


def json_answer(body: dict[str, Any], status: int = HTTPStatus.OK) -> Response:
    return encoded_json_answer(msgspec.json.encode(body), status)


def encoded_json_answer(body: bytes, status: int = HTTPStatus.OK) -> Response:
    return Response(body, status=int(status), mimetype=JSON_TYPE)
