"""/api/messages: say something to every ui. Task threads."""

from __future__ import annotations

from concurrent.futures import Future
from http import HTTPStatus

import msgspec
from flask import Blueprint, Response, request

from ipc import PayloadError
from server_proc.json_body import JSON_TYPE, read_json_object
from server_proc.late_answer import Ready, answer_late
from server_proc.problems import FieldError, WrongFieldsError
from server_proc.services import Services

# A ui shows these as facts from the database, so only the store may announce them.
RESERVED_TYPES = frozenset({"attendance", "void", "person"})


def messages_blueprint(services: Services) -> Blueprint:
    blueprint = Blueprint("messages", __name__, url_prefix="/api/messages")

    def ready(appended: Future[int]) -> Ready:
        try:
            answer = {"clients": services.hub.clients, "seq": appended.result()}
        except PayloadError as error:
            raise WrongFieldsError([FieldError("payload", str(error))]) from error
        return Ready(HTTPStatus.ACCEPTED, JSON_TYPE, msgspec.json.encode(answer))

    @blueprint.post("")
    def broadcast() -> Response:
        payload = read_json_object(request)
        kind = payload.get("type")
        if isinstance(kind, str) and kind in RESERVED_TYPES:
            raise WrongFieldsError(
                [FieldError("type", "is reserved for what the database holds: POST marks to /api/attendance")]
            )
        return answer_late(services.submit(services.outbox.append_many, payload), ready)

    return blueprint
