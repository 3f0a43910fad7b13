"""What a ui may ask of the server over ipc, and what it may tell. Runs on ipc's threads.

A request may come twice, since a server that was killed may have carried it out without having answered: with an "id"
chosen by who asks, the second time is answered as the first and changes nothing. Every wrong field is named.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import structlog

from ipc import Limits, RequestError, SocketServer
from server_proc.action_fields import Fields
from server_proc.database_errors import DatabaseError, DatabaseFullError
from server_proc.marks import mark_message, parse_new_mark
from server_proc.metrics import DUPLICATE, REJECTED
from server_proc.people import person_message
from server_proc.problems import WrongFieldsError
from server_proc.services import Services
from server_proc.store import Outcome
from server_proc.voids import AlreadyVoidedError, NewVoid, UnknownMarkError, void_message

DEFAULT_SNAPSHOT_MARKS = 500
MAX_SNAPSHOT_MARKS = 10_000
# A reply must fit into one frame of the channel, with room for its envelope and the figures.
MAX_SNAPSHOT_BYTES = Limits().max_frame_bytes - (16 << 10)
MAX_LOGGED_CHARS = 64
MANUAL_SOURCE = "manual"

log = structlog.get_logger()

Payload = dict[str, Any]
Action = Callable[[Services, Payload], Payload]


def register_actions(server: SocketServer, services: Services, *, log_payloads: bool) -> None:
    """Answer the ui's requests and log its messages."""
    for kind, action in ACTIONS.items():
        server.on_request(kind)(lambda payload, action=action: carry_out(action, services, payload))
    server.add_message_handler(action_logger(log_payloads))


def carry_out(action: Action, services: Services, payload: Payload) -> Payload:
    """Return the action's answer. Raises RequestError with a code for each kind of failure."""
    try:
        return action(services, payload)
    except WrongFieldsError as problem:
        reasons = "; ".join(f"{error.field}: {error.message}" for error in problem.errors)
        raise RequestError("wrong_field", reasons) from problem
    except UnknownMarkError as error:
        raise RequestError("unknown_mark", str(error)) from error
    except AlreadyVoidedError as error:
        raise RequestError("already_voided", str(error)) from error
    except DatabaseFullError as error:
        raise RequestError("disk_full", "nothing was stored: the server's disk is full") from error
    except DatabaseError as error:
        log.error("action_failed", type=payload.get("type"), reason=str(error))
        raise RequestError("database_abandoned", "nothing was stored: the database cannot be used now") from error


def answer_snapshot(services: Services, payload: Payload) -> Payload:
    """Return the state and the seq it reflects; as many of the newest marks as asked for and as fit into a frame."""
    fields = Fields(payload)
    limit = fields.number("limit", 0, DEFAULT_SNAPSHOT_MARKS)
    fields.require_none_wrong()
    return services.snapshots.snapshot(min(limit, MAX_SNAPSHOT_MARKS), MAX_SNAPSHOT_BYTES, services.now_ms())


def answer_marks(services: Services, payload: Payload) -> Payload:
    """Return older marks: those before "beforeSeq", which is the "nextBeforeSeq" of the answer before."""
    fields = Fields(payload)
    before_seq = fields.number("beforeSeq", 1)
    limit = fields.number("limit", 0, MAX_SNAPSHOT_MARKS)
    fields.require_none_wrong()
    return services.snapshots.marks(before_seq, min(limit, MAX_SNAPSHOT_MARKS), MAX_SNAPSHOT_BYTES)


def answer_people(services: Services, payload: Payload) -> Payload:
    """Return people in the order of their ids: those after "afterPerson"."""
    fields = Fields(payload)
    after_person = fields.optional_text("afterPerson") or ""
    fields.require_none_wrong()
    return services.snapshots.people(after_person, MAX_SNAPSHOT_BYTES)


def mark_by_hand(services: Services, payload: Payload) -> Payload:
    """Record a mark whose source is the operator, unless another one of the person stands: a "duplicate"."""
    now_ms = services.now_ms()
    try:
        new = parse_new_mark(payload | {"source": MANUAL_SOURCE}, now_ms)
        with services.database.write() as transaction:
            recorded = services.store.record_in(transaction, new, now_ms)
    except WrongFieldsError:
        services.metrics.marks_not_stored(REJECTED)
        raise
    is_new = recorded.outcome is Outcome.CREATED
    if not is_new:
        services.metrics.marks_not_stored(DUPLICATE)
    _announce(services, "mark", is_new=is_new)
    answer = {"type": "mark", "isNew": is_new, "mark": mark_message(recorded.mark)}
    return answer | {"duplicate": True} if recorded.outcome is Outcome.DUPLICATE else answer


def void_mark(services: Services, payload: Payload) -> Payload:
    """Void a mark, named by "markId" or "markSeq", with a "reason"."""
    fields = Fields(payload)
    mark_id, mark_seq = fields.optional_text("markId"), fields.optional_number("markSeq", 1)
    if payload.get("markId") is None and payload.get("markSeq") is None:
        fields.add("markId", "is required, or markSeq")
    new = NewVoid(
        reason=fields.text("reason", "why the mark does not count"),
        mark_id=mark_id,
        mark_seq=mark_seq,
        id=fields.optional_text("id"),
    )
    fields.require_none_wrong()
    void, is_new = services.voids.void(new, services.now_ms())
    _announce(services, "void", is_new=is_new)
    return {"type": "void", "isNew": is_new, "void": void_message(void)}


def rename_person(services: Services, payload: Payload) -> Payload:
    """Give a person a name; the group stays, unless the request has another one, or null."""
    fields = Fields(payload)
    person_id = fields.text("personId", 'a text such as "12345"')
    name = fields.text("name", "what the person is called")
    group = fields.optional_text("group")
    fields.require_none_wrong()
    if "group" in payload:
        person, _ = services.people.put(person_id, name, group, services.now_ms())
    else:
        person = services.people.rename(person_id, name, services.now_ms())
    _announce(services, "rename")
    return {"type": "rename", "person": person_message(person)}


ACTIONS: Mapping[str, Action] = {
    "snapshot": answer_snapshot,
    "marks": answer_marks,
    "people": answer_people,
    "mark": mark_by_hand,
    "void": void_mark,
    "rename": rename_person,
}


def action_logger(log_payloads: bool) -> Callable[[Payload], None]:
    """Return the handler of the ui's messages, such as notes: it says that one came."""

    def handle(payload: Payload) -> None:
        details: Payload = {
            "type": _label(payload.get("type")),
            "action": _label(payload.get("action")),
        }
        if log_payloads:
            details["payload"] = payload
        log.info("action_received", **details)

    return handle


def _announce(services: Services, action: str, **details: Any) -> None:
    services.hub.announce()
    log.info("action_completed", action=action, **details)


def _label(value: object) -> str | None:
    """Return a short text as it is; anything else is no label and may be personal."""
    return value if isinstance(value, str) and len(value) <= MAX_LOGGED_CHARS else None
