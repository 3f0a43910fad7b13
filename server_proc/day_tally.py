"""The figures of the day: marks, people, arrivals by hour, without those that were voided.

Counted from the database once a day and then continued, since counting a busy day anew takes longer than a ui that
starts wants to wait. Knows SQL and the local time zone. One thread at a time; `SnapshotReader` sees to that.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable

from server_proc.timestamps import local_hour, start_of_local_day_ms

HOURS = 24
QUARTER_MS = 15 * 60 * 1000  # every time zone is whole quarters of an hour from the next
_HALF_A_DAY_LATE_MS = 36 * 3600 * 1000  # noon of the next day, however the clocks are changed


class DayTally:
    """The figures of the day that `now_ms` lies in; `bring_up_to_date` moves on the moment that they are of."""

    def __init__(self, now_ms: int) -> None:
        self._from_ms = start_of_local_day_ms(now_ms)
        self._to_ms = start_of_local_day_ms(self._from_ms + _HALF_A_DAY_LATE_MS)
        self._mark_seq = self._void_seq = 0
        self._people: Counter[str] = Counter()
        self._quarters: Counter[int] = Counter()

    def covers(self, now_ms: int) -> bool:
        return self._from_ms <= now_ms < self._to_ms

    @property
    def marks(self) -> int:
        return self._quarters.total()

    @property
    def people(self) -> int:
        """How many different people have a mark that stands."""
        return sum(count > 0 for count in self._people.values())

    @property
    def per_hour(self) -> list[int]:
        """Marks by local hour."""
        hours = [0] * HOURS
        for quarter, count in self._quarters.items():
            hours[local_hour(quarter * QUARTER_MS)] += count
        return hours

    def bring_up_to_date(self, connection: sqlite3.Connection) -> None:
        """Count what the view of `connection`, which must not be older than the last one, has beyond what is known."""
        day = (self._from_ms, self._to_ms)
        mark_seq, void_seq = last_number(connection, "marks"), last_number(connection, "voids")
        # Two ways to the same rows: a new day is found by its timestamps, what is new of it by its row numbers.
        by = "timestamp_ms" if self._mark_seq == 0 else "+timestamp_ms"
        marks = f"SELECT person_id, timestamp_ms FROM marks WHERE {by} >= ? AND {by} < ? AND mark_seq > ?"  # noqa: S608
        voids = (
            "SELECT person_id, timestamp_ms FROM voids JOIN marks USING (mark_seq)"
            " WHERE timestamp_ms >= ? AND timestamp_ms < ? AND void_seq > ?"
        )
        self._count(connection.execute(marks, (*day, self._mark_seq)), +1)
        self._count(connection.execute(voids, (*day, self._void_seq)), -1)
        self._mark_seq, self._void_seq = mark_seq, void_seq

    def _count(self, rows: Iterable[tuple[str, int]], step: int) -> None:
        people, quarters = self._people, self._quarters
        for person_id, timestamp_ms in rows:
            people[person_id] += step
            quarters[timestamp_ms // QUARTER_MS] += step


def last_number(connection: sqlite3.Connection, table: str) -> int:
    """Return the newest row number of a table with AUTOINCREMENT.

    Rows of ours are never deleted and no number is skipped, so for marks and voids it is the count, which `count(*)`
    would find by walking all of them.
    """
    row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (table,)).fetchone()
    return int(row[0]) if row else 0
