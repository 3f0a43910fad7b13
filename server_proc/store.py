"""The store: marks in the database, each announced in the same transaction.

Knows SQL and the outbox; knows neither HTTP nor connections: who records a mark flushes the ipc server afterwards.
Any thread may call.
"""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Sequence
from typing import cast

import msgspec

from server_proc.database import Database
from server_proc.marks import Mark, NewMark, conflicts, mark_announcement
from server_proc.outbox import OutboxLog
from server_proc.problems import WrongFieldsError

_COLUMNS = "mark_seq, id, person_id, timestamp_ms, received_ms, source"


class MarkQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which marks to list, oldest row first: those after a row number, of a person, in [from, to)."""

    after_seq: int = 0
    person_id: str | None = None
    from_ms: int | None = None
    to_ms: int | None = None
    limit: int = 100


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """The state as of outbox seq `seq`: the newest marks first, how many there are, how many are of today."""

    seq: int
    marks: list[Mark]
    total: int
    today: int


class MarkStore:
    """Records and lists marks."""

    def __init__(self, database: Database, outbox: OutboxLog) -> None:
        self._database = database
        self._outbox = outbox

    def record(self, new: NewMark, now_ms: int) -> tuple[Mark, bool]:
        """Store a mark and its announcement durably; return it, and whether it is new.

        A repeated id returns the mark stored before. Raises WrongFieldsError when it asks for another mark than
        that, DatabaseError when nothing was stored.
        """
        with self._database.write() as transaction:
            connection = transaction.connection
            if new.id is not None and (stored := _find(connection, new.id)) is not None:
                if errors := conflicts(new, stored):
                    raise WrongFieldsError(errors)
                return stored, False
            mark = _insert(connection, new, now_ms)
            self._outbox.add(transaction, mark_announcement(mark, new.request_id))
        return mark, True

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

    def snapshot(self, limit: int, today_from_ms: int) -> Snapshot:
        """Return the newest marks and the counts, all of one moment."""
        newest = f"SELECT {_COLUMNS} FROM marks ORDER BY mark_seq DESC LIMIT ?"  # noqa: S608  constants
        with self._database.read() as connection:
            rows = connection.execute(newest, (limit,)).fetchall()
            return Snapshot(
                seq=_last_number(connection, "outbox"),
                marks=[_mark(row) for row in rows],
                # Marks are never deleted and row numbers never skipped, so the newest number is the count, which
                # `count(*)` would find by walking a million rows.
                total=_last_number(connection, "marks"),
                today=_count_since(connection, today_from_ms),
            )


def _insert(connection: sqlite3.Connection, new: NewMark, now_ms: int) -> Mark:
    mark_id = new.id or str(uuid.uuid4())
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


def _find(connection: sqlite3.Connection, mark_id: str) -> Mark | None:
    sql = f"SELECT {_COLUMNS} FROM marks WHERE id = ?"  # noqa: S608  constants
    row = connection.execute(sql, (mark_id,)).fetchone()
    return None if row is None else _mark(row)


def _mark(row: Sequence[object]) -> Mark:
    return msgspec.convert(dict(zip(Mark.__struct_fields__, row, strict=True)), Mark)


def _last_number(connection: sqlite3.Connection, table: str) -> int:
    row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (table,)).fetchone()
    return int(row[0]) if row else 0


def _count_since(connection: sqlite3.Connection, from_ms: int) -> int:
    row = connection.execute("SELECT count(*) FROM marks WHERE timestamp_ms >= ?", (from_ms,)).fetchone()
    return int(row[0])
