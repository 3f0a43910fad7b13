"""The store: marks in the database, each recorded once and announced in the same transaction.

Knows SQL and the outbox; knows neither HTTP nor connections: who records a mark flushes the ipc server afterwards.
Any thread may call.
"""

from __future__ import annotations

import os
import sqlite3
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing
from enum import Enum
from typing import Any, cast

import msgspec

from server_proc.cooldown import recall_duplicate, remember_duplicate, standing_seq
from server_proc.database import Database, Transaction
from server_proc.marks import Mark, NewMark, conflicts, mark_announcement
from server_proc.outbox import OutboxLog
from server_proc.problems import WrongFieldsError

# In the order of a Mark's fields.
_COLUMNS = (
    "mark_seq, id, person_id, timestamp_ms, received_ms, source,"
    " (SELECT reason FROM voids WHERE voids.mark_seq = marks.mark_seq)"
)

_48_BITS = (1 << 48) - 1


class Outcome(Enum):
    """What became of a mark that was asked for."""

    CREATED = "created"
    REPEATED = "repeated"  # it had been recorded before, under the same id
    DUPLICATE = "duplicate"  # another mark of the person stands within the cool-down


class Recorded(msgspec.Struct, frozen=True):
    """The mark that stands, and how it came to."""

    mark: Mark
    outcome: Outcome


class MarkQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which marks to list, oldest row first: those after a row number, of a person, in [from, to)."""

    after_seq: int = 0
    person_id: str | None = None
    from_ms: int | None = None
    to_ms: int | None = None
    limit: int = 100


class MarkStore:
    """Records and lists marks."""

    def __init__(self, database: Database, outbox: OutboxLog, cooldown_ms: int = 0) -> None:
        """With a `cooldown_ms` of 0 a person may be marked at every moment."""
        self._database = database
        self._outbox = outbox
        self._cooldown_ms = cooldown_ms

    def record(self, new: NewMark, now_ms: int) -> tuple[Mark, bool]:
        """Store a mark and its announcement durably; return the mark that stands, and whether it is new.

        Raises WrongFieldsError when a repeated id asks for another mark than before, DatabaseError when nothing was
        stored.
        """
        with self._database.write() as transaction:
            recorded = self.record_in(transaction, new, now_ms)
        return recorded.mark, recorded.outcome is Outcome.CREATED

    def record_in(self, transaction: Transaction, new: NewMark, now_ms: int) -> Recorded:
        """Write a mark and its announcement as part of `transaction`, unless it is there or a duplicate.

        Raises WrongFieldsError as `record` does, before anything is written.
        """
        connection = transaction.connection
        if new.id is not None and (before := _recall(connection, new, now_ms)) is not None:
            return before
        timestamp_ms = now_ms if new.timestamp_ms is None else new.timestamp_ms
        standing = standing_seq(connection, new.person_id, timestamp_ms, self._cooldown_ms)
        if standing is not None:
            if new.id is not None:
                remember_duplicate(connection, new, standing, now_ms)
            return Recorded(_get(connection, standing), Outcome.DUPLICATE)
        mark = _insert(connection, new, now_ms)
        self._outbox.add(transaction, mark_announcement(mark, new.request_id))
        return Recorded(mark, Outcome.CREATED)

    def list_marks(self, query: MarkQuery) -> list[Mark]:
        """Return marks, oldest row first."""
        wheres = ["mark_seq > :after_seq"]
        if query.person_id is not None:
            wheres.append("person_id = :person_id")
        if query.from_ms is not None:
            wheres.append("timestamp_ms >= :from_ms")
        if query.to_ms is not None:
            wheres.append("timestamp_ms < :to_ms")
        where = " AND ".join(wheres)
        sql = f"SELECT {_COLUMNS} FROM marks WHERE {where} ORDER BY mark_seq LIMIT :limit"  # noqa: S608  constants
        with self._database.read() as connection:
            return [_mark(row) for row in connection.execute(sql, msgspec.structs.asdict(query)).fetchall()]


def newest_marks(connection: sqlite3.Connection, before_seq: int, limit: int) -> Iterator[Mark]:
    """Yield the newest marks before a row number, newest row first, as of the view that `connection` has."""
    sql = f"SELECT {_COLUMNS} FROM marks WHERE mark_seq < ? ORDER BY mark_seq DESC LIMIT ?"  # noqa: S608  constants
    with closing(connection.execute(sql, (before_seq, limit))) as rows:
        yield from map(_mark, rows)


def _recall(connection: sqlite3.Connection, new: NewMark, now_ms: int) -> Recorded | None:
    """Return what became of this id before, or None."""
    stored = _find(connection, cast(str, new.id))
    if stored is not None:
        if errors := conflicts(new, stored):
            raise WrongFieldsError(errors)
        return Recorded(stored, Outcome.REPEATED)
    standing = recall_duplicate(connection, new, now_ms)
    return None if standing is None else Recorded(_get(connection, standing), Outcome.DUPLICATE)


def _insert(connection: sqlite3.Connection, new: NewMark, now_ms: int) -> Mark:
    mark_id = new.id or _new_id(now_ms)
    timestamp_ms = now_ms if new.timestamp_ms is None else new.timestamp_ms
    cursor = connection.execute(
        "INSERT INTO marks (id, person_id, timestamp_ms, received_ms, source) VALUES (?, ?, ?, ?, ?)",
        (mark_id, new.person_id, timestamp_ms, now_ms, new.source),
    )
    return Mark(
        mark_seq=cast(int, cursor.lastrowid),
        id=mark_id,
        person_id=new.person_id,
        timestamp_ms=timestamp_ms,
        received_ms=now_ms,
        source=new.source,
    )


def _new_id(now_ms: int) -> str:
    """Return a UUID of version 7: it begins with the time, so that new ones lie side by side in the index.

    Random ones would each change a page of their own, and a commit writes whole pages.
    """
    random = int.from_bytes(os.urandom(10))
    value = (now_ms & _48_BITS) << 80 | random
    value = value & ~(0xF << 76) | 0x7 << 76  # the version
    return str(uuid.UUID(int=value & ~(0b11 << 62) | 0b10 << 62))  # the variant


def _find(connection: sqlite3.Connection, mark_id: str) -> Mark | None:
    sql = f"SELECT {_COLUMNS} FROM marks WHERE id = ?"  # noqa: S608  constants
    row = connection.execute(sql, (mark_id,)).fetchone()
    return None if row is None else _mark(row)


def _get(connection: sqlite3.Connection, mark_seq: int) -> Mark:
    sql = f"SELECT {_COLUMNS} FROM marks WHERE mark_seq = ?"  # noqa: S608  constants
    return _mark(connection.execute(sql, (mark_seq,)).fetchone())


def _mark(row: Sequence[Any]) -> Mark:
    mark_seq, mark_id, person_id, timestamp_ms, received_ms, source, void_reason = row
    return Mark(
        mark_seq=mark_seq,
        id=mark_id,
        person_id=person_id,
        timestamp_ms=timestamp_ms,
        received_ms=received_ms,
        source=source,
        void_reason=void_reason,
    )
