"""/openapi.json: the description of this API. Task threads."""

from __future__ import annotations

import msgspec
from flask import Blueprint, Response, current_app

from server_proc.json_answer import encoded_json_answer
from server_proc.services import Services


def openapi_blueprint(_services: Services) -> Blueprint:
    blueprint = Blueprint("openapi", __name__)
    built: list[bytes] = []

    @blueprint.get("/openapi.json")
    def describe() -> Response:
        if not built:
            # Only now: it takes longer to import than all that a start needs.
            from server_proc.openapi.document import build_document

            built.append(msgspec.json.encode(build_document(current_app)))
        return encoded_json_answer(built[0])

    return blueprint
