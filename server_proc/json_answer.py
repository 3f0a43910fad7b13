"""Answering with JSON. Knows Flask's response; any task thread."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import msgspec
from flask import Response


def json_answer(body: dict[str, Any], status: int = HTTPStatus.OK) -> Response:
    return Response(msgspec.json.encode(body), status=int(status), mimetype="application/json")
