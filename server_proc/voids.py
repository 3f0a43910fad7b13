"""Voids: that a mark does not count, and why. A void is a row of its own, announced in the same transaction.

Knows SQL and the outbox; knows neither HTTP nor connections: who voids a mark flushes the ipc server afterwards. Any
thread may call.
"""

from __future__ import annotations

import sqlite3
import uuid
from typing import Any

import msgspec

from server_proc.database import Database
from server_proc.outbox import OutboxLog
from server_proc.problems import FieldError, WrongFieldsError
from server_proc.timestamps import format_timestamp

_SELECT = (
    "SELECT voids.id, marks.id, mark_seq, person_id, reason, voided_ms FROM voids JOIN marks USING (mark_seq) WHERE "
)


class NewVoid(msgspec.Struct, frozen=True, kw_only=True):
    """A void as it is asked for: the mark by its id or by its row number."""

    reason: str
    mark_id: str | None = None
    mark_seq: int | None = None
    id: str | None = None


class Void(msgspec.Struct, frozen=True):
    """A void as it is stored, and what mark it is about."""

    id: str
    mark_id: str
    mark_seq: int
    person_id: str
    reason: str
    voided_ms: int


class UnknownMarkError(Exception):
    """There is no such mark."""


class AlreadyVoidedError(Exception):
    """The mark has been voided before; `void` says when and why."""

    def __init__(self, void: Void) -> None:
        super().__init__(f"the mark was voided at {format_timestamp(void.voided_ms)}: {void.reason}")
        self.void = void


class VoidStore:
    """Voids marks."""

    def __init__(self, database: Database, outbox: OutboxLog) -> None:
        self._database = database
        self._outbox = outbox

    def void(self, new: NewVoid, now_ms: int) -> tuple[Void, bool]:
        """Store a void and its announcement durably; return it, and whether it is new.

        A repeated id returns the void stored before. Raises UnknownMarkError, AlreadyVoidedError, WrongFieldsError when
        a repeated id asks for another void than before, DatabaseError when nothing was stored.
        """
        with self._database.write() as transaction:
            connection = transaction.connection
            if new.id is not None and (stored := _find(connection, "voids.id = ?", new.id)) is not None:
                if errors := _conflicts(new, stored):
                    raise WrongFieldsError(errors)
                return stored, False
            mark_id, mark_seq, person_id = _mark(connection, new)
            if (earlier := _find(connection, "mark_seq = ?", mark_seq)) is not None:
                raise AlreadyVoidedError(earlier)
            void = Void(new.id or str(uuid.uuid4()), mark_id, mark_seq, person_id, new.reason, now_ms)
            connection.execute(
                "INSERT INTO voids (id, mark_seq, reason, voided_ms) VALUES (?, ?, ?, ?)",
                (void.id, mark_seq, void.reason, now_ms),
            )
            self._outbox.add(transaction, void_message(void))
        return void, True


def void_message(void: Void) -> dict[str, Any]:
    """Return the void as every reader sees it."""
    return {
        "type": "void",
        "id": void.id,
        "markId": void.mark_id,
        "markSeq": void.mark_seq,
        "personId": void.person_id,
        "reason": void.reason,
        "timestamp": format_timestamp(void.voided_ms),
    }


def _mark(connection: sqlite3.Connection, new: NewVoid) -> tuple[str, int, str]:
    row = connection.execute(
        "SELECT id, mark_seq, person_id FROM marks"
        " WHERE (?1 IS NOT NULL AND id = ?1 OR ?1 IS NULL AND mark_seq = ?2) AND (?2 IS NULL OR mark_seq = ?2)",
        (new.mark_id, new.mark_seq),
    ).fetchone()
    if row is None:
        raise UnknownMarkError("there is no such mark")
    mark_id, mark_seq, person_id = row
    return mark_id, mark_seq, person_id


def _find(connection: sqlite3.Connection, condition: str, value: str | int) -> Void | None:
    row = connection.execute(_SELECT + condition, (value,)).fetchone()
    return None if row is None else Void(*row)


def _conflicts(asked: NewVoid, stored: Void) -> list[FieldError]:
    pairs = (
        ("markId", asked.mark_id, stored.mark_id),
        ("markSeq", asked.mark_seq, stored.mark_seq),
        ("reason", asked.reason, stored.reason),
    )
    message = "differs from what was asked under this id before: send a new id"
    return [FieldError(name, message) for name, new, old in pairs if new is not None and new != old]
