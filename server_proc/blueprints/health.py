"""/healthz: the process answers; /readyz: it can also do its work. Task threads."""

from __future__ import annotations

import os
from http import HTTPStatus
from pathlib import Path

from flask import Blueprint, Response

from server_proc.database_errors import DatabaseError
from server_proc.json_answer import json_answer
from server_proc.services import Services

READY_PATIENCE_S = 1.0
# Below this the next marks still fit; whoever watches has time to make room.
MIN_FREE_BYTES = 64 << 20


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
    if fault := _disk_fault(services.database.path.parent):
        reasons.append(f"disk: {fault}")
    return reasons


def _disk_fault(directory: Path) -> str | None:
    try:
        disk = os.statvfs(directory)
    except OSError as error:
        return f"{directory}: {error.strerror}"
    free_bytes = disk.f_bavail * disk.f_frsize
    if free_bytes < MIN_FREE_BYTES:
        return f"{free_bytes >> 20} MiB free in {directory}, at least {MIN_FREE_BYTES >> 20} MiB are needed"
    return None
