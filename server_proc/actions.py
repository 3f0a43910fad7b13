"""What a ui may ask or tell the server over ipc. Runs on ipc's threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import structlog

from ipc import Limits, RequestError, SocketServer
from server_proc.marks import mark_message
from server_proc.services import Services
from server_proc.timestamps import start_of_local_day_ms

DEFAULT_SNAPSHOT_MARKS = 500
MAX_SNAPSHOT_MARKS = 10_000
# A reply must fit into one frame of the channel, with room for its envelope and the counts.
MAX_SNAPSHOT_BYTES = Limits().max_frame_bytes - (16 << 10)
MAX_LOGGED_CHARS = 64

log = structlog.get_logger()


def register_actions(server: SocketServer, services: Services, *, log_payloads: bool) -> None:
    """Answer the ui's requests and log its messages."""
    server.on_request("snapshot")(lambda payload: answer_snapshot(services, payload))
    server.add_message_handler(action_logger(log_payloads))


def answer_snapshot(services: Services, payload: dict[str, Any]) -> dict[str, Any]:
    """Return the state and the seq it reflects; as many of the newest marks as asked for and as fit into a frame.

    Raises RequestError for a limit that is not a positive whole number.
    """
    limit = payload.get("limit", DEFAULT_SNAPSHOT_MARKS)
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 0:
        raise RequestError("wrong_field", "limit: must be a whole number from 0")
    today_from_ms = start_of_local_day_ms(services.now_ms())
    snapshot = services.store.snapshot(min(limit, MAX_SNAPSHOT_MARKS), today_from_ms)
    messages = [mark_message(mark) for mark in snapshot.marks]
    return {
        "type": "snapshot",
        "seq": snapshot.seq,
        "marks": messages[: _count_that_fits(messages, MAX_SNAPSHOT_BYTES)],
        "total": snapshot.total,
        "today": snapshot.today,
    }


def action_logger(log_payloads: bool) -> Callable[[dict[str, Any]], None]:
    """Return the handler of the ui's messages: until there are actions to carry out, it says that one came."""

    def handle(payload: dict[str, Any]) -> None:
        details: dict[str, Any] = {
            "type": _label(payload.get("type")),
            "action": _label(payload.get("action")),
        }
        if log_payloads:
            details["payload"] = payload
        log.info("action_received", **details)

    return handle


def _count_that_fits(messages: list[dict[str, Any]], max_bytes: int) -> int:
    size_bytes = 0
    for count, message in enumerate(messages):
        size_bytes += len(msgspec.json.encode(message)) + 1
        if size_bytes > max_bytes:
            return count
    return len(messages)


def _label(value: object) -> str | None:
    """Return a short text as it is; anything else is no label and may be personal."""
    return value if isinstance(value, str) and len(value) <= MAX_LOGGED_CHARS else None
