"""/healthz: the process answers; /readyz: it can also do its work. Task threads."""

from __future__ import annotations

from http import HTTPStatus

from flask import Blueprint, Response

from server_proc.database_errors import DatabaseError
from server_proc.json_answer import json_answer
from server_proc.services import Services

READY_PATIENCE_S = 1.0


def health_blueprint(services: Services) -> Blueprint:
    blueprint = Blueprint("health", __name__)

    @blueprint.get("/healthz")
    def is_alive() -> Response:
        # No I/O and no lock: a full disk is no reason to kill this process.
        return json_answer({"status": "ok"})

    @blueprint.get("/readyz")
    def is_ready() -> Response:
        reasons = _reasons(services)
        if reasons:
            return json_answer({"status": "unready", "reasons": reasons}, HTTPStatus.SERVICE_UNAVAILABLE)
        return json_answer({"status": "ready"})

    return blueprint


def _reasons(services: Services) -> list[str]:
    reasons = []
    try:
        services.database.check_writable(READY_PATIENCE_S)
    except DatabaseError as error:
        reasons.append(f"database: {error}")
    if not services.hub.is_serving:
        reasons.append("ipc: not accepting clients")
    return reasons
