"""The store: marks in the database, each recorded once and announced in the same transaction.

Knows SQL and the outbox; knows neither HTTP nor connections: who records a mark flushes the ipc server afterwards.
Any thread may call.
"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from enum import Enum
from typing import Any, cast

import msgspec

from server_proc.cooldown import recall_duplicate, remember_duplicate, standing_range, standing_seq
from server_proc.database import Database, Transaction
from server_proc.many_rows import values
from server_proc.marks import Mark, NewMark, conflicts, mark_announcement
from server_proc.outbox import OutboxLog
from server_proc.problems import WrongFieldsError

# In the order of a Mark's fields.
_COLUMNS = (
    "mark_seq, id, person_id, timestamp_ms, received_ms, source,"
    " (SELECT reason FROM voids WHERE voids.mark_seq = marks.mark_seq)"
)

# Which marks of `asked` have an id that is known, or a person who was marked within the cool-down; voids do not matter
# here, for `record_in` looks at these again.
_KNOWN = (
    "WITH asked (number, id, person_id, after_ms, before_ms) AS (VALUES {})"
    " SELECT number FROM asked WHERE EXISTS (SELECT 1 FROM marks WHERE marks.id = asked.id)"
    " OR EXISTS (SELECT 1 FROM duplicates WHERE duplicates.id = asked.id)"
    " OR EXISTS (SELECT 1 FROM marks WHERE marks.person_id = asked.person_id"
    " AND timestamp_ms > after_ms AND timestamp_ms < before_ms)"
)
# Not os.urandom each time: a system call, in which the thread that writes would let others go first. Nor the generator
# that all modules share, which any of them may set back to where it was.
_random = random.Random()  # noqa: S311 - to be unique, not secret; it begins with what the system has
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
        standing = standing_seq(connection, new.person_id, new.moment_ms(now_ms), self._cooldown_ms)
        if standing is None:
            return self._create(transaction, [(new, now_ms)])[0]
        if new.id is not None:
            remember_duplicate(connection, new, standing, now_ms)
        return Recorded(_get(connection, standing), Outcome.DUPLICATE)

    def record_many(
        self, transaction: Transaction, asked: Sequence[tuple[NewMark, int]]
    ) -> list[Recorded | WrongFieldsError]:
        """Do for each mark and its `now_ms` what `record_in` does: in few statements, since most of them are new.

        What `record_in` would raise is among the results. Those that need a closer look are recorded after the others,
        which share neither id nor person with any before them: so each becomes what it would have become in its turn.
        """
        unusual = self._unusual(transaction.connection, asked)
        usual = [number for number in range(len(asked)) if number not in unusual]
        created = self._create(transaction, [asked[number] for number in usual])
        results: dict[int, Recorded | WrongFieldsError] = dict(zip(usual, created, strict=True))
        for number in sorted(unusual):
            try:
                results[number] = self.record_in(transaction, *asked[number])
            except WrongFieldsError as error:
                results[number] = error
        return [results[number] for number in range(len(asked))]

    def _unusual(self, connection: sqlite3.Connection, asked: Sequence[tuple[NewMark, int]]) -> set[int]:
        """Return the numbers of those marks that may not be new: their id or their person is known, or asked twice."""
        rows: list[int | str | None] = []
        unusual: set[int] = set()
        seen: set[tuple[str, str]] = set()
        for number, (new, now_ms) in enumerate(asked):
            names = {("person", new.person_id)} if new.id is None else {("person", new.person_id), ("id", new.id)}
            if seen & names:
                unusual.add(number)
            seen |= names
            rows += (number, new.id, *standing_range(new.person_id, new.moment_ms(now_ms), self._cooldown_ms))
        if rows:
            found = connection.execute(_KNOWN.format(values(5, len(asked))), rows).fetchall()
            unusual.update(number for (number,) in found)
        return unusual

    def _create(self, transaction: Transaction, asked: Sequence[tuple[NewMark, int]]) -> list[Recorded]:
        """Write marks that are new, and their announcements."""
        if not asked:
            return []
        rows = [
            (new.id or _new_id(now_ms), new.person_id, new.moment_ms(now_ms), now_ms, new.source)
            for new, now_ms in asked
        ]
        insert = "INSERT INTO marks (id, person_id, timestamp_ms, received_ms, source)"
        cursor = transaction.connection.execute(
            f"{insert} VALUES {values(5, len(rows))}",
            [value for row in rows for value in row],
        )
        first_seq = cast(int, cursor.lastrowid) + 1 - len(rows)
        marks = [_mark((mark_seq, *row, None)) for mark_seq, row in enumerate(rows, first_seq)]
        announcements = [mark_announcement(mark, new.request_id) for mark, (new, _) in zip(marks, asked, strict=True)]
        self._outbox.add_many(transaction, announcements)
        return [Recorded(mark, Outcome.CREATED) for mark in marks]

    def list_marks(self, query: MarkQuery) -> list[Mark]:
        """Return marks, oldest row first."""
        wheres = ["mark_seq > :after_seq"]
        if query.person_id is not None:
            wheres.append("person_id = :person_id")
        if query.from_ms is not None:
            wheres.append("timestamp_ms >= :from_ms")
        if query.to_ms is not None:
            wheres.append("timestamp_ms < :to_ms")
        # First which ones: an index tells that, and sorting what it tells costs less than sorting whole rows.
        found = f"SELECT mark_seq FROM marks WHERE {' AND '.join(wheres)} ORDER BY mark_seq LIMIT :limit"  # noqa: S608
        sql = f"SELECT {_COLUMNS} FROM marks WHERE mark_seq IN ({found}) ORDER BY mark_seq"  # noqa: S608  constants
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


def _new_id(now_ms: int) -> str:
    """Return a UUID of version 7: it begins with the time, so that new ones lie side by side in the index.

    Random ones would each change a page of their own, and a commit writes whole pages.
    """
    value = (now_ms & _48_BITS) << 80 | _random.getrandbits(80)
    value = value & ~(0xF << 76) | 0x7 << 76  # the version
    digits = f"{value & ~(0b11 << 62) | 0b10 << 62:032x}"  # the variant
    # As str(uuid.UUID(int=value)) says it, in a fifth of the time.
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


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
