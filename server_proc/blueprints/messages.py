"""/api/messages: say something to every ui. Task threads."""

from __future__ import annotations

from http import HTTPStatus

from flask import Blueprint, Response, request

from ipc import PayloadError
from server_proc.json_answer import json_answer
from server_proc.json_body import read_json_object
from server_proc.problems import FieldError, WrongFieldsError
from server_proc.services import Services

# A ui shows these as facts from the database, so only the store may announce them.
RESERVED_TYPES = frozenset({"attendance", "void", "person"})


def messages_blueprint(services: Services) -> Blueprint:
    blueprint = Blueprint("messages", __name__, url_prefix="/api/messages")

    @blueprint.post("")
    def broadcast() -> Response:
        payload = read_json_object(request)
        kind = payload.get("type")
        if isinstance(kind, str) and kind in RESERVED_TYPES:
            raise WrongFieldsError(
                [FieldError("type", "is reserved for what the database holds: POST marks to /api/attendance")]
            )
        try:
            seq = services.outbox.append(payload)
        except PayloadError as error:
            raise WrongFieldsError([FieldError("payload", str(error))]) from error
        return json_answer({"clients": services.hub.announce(), "seq": seq}, HTTPStatus.ACCEPTED)

    return blueprint
