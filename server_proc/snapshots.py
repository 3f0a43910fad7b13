"""Snapshots: the state that a ui begins with, and the pages of it that did not fit into the first answer.

Knows SQL and the messages; knows nothing of the channel but how large a page may be. Any thread may call.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any

import msgspec

from server_proc.database import Database
from server_proc.day_tally import DayTally, last_number
from server_proc.marks import Mark, mark_message
from server_proc.people import Person, people_after, person_message
from server_proc.store import newest_marks

_BEYOND_EVERY_SEQ = 2**63 - 1


class SnapshotReader:
    """Answers what a ui needs to know when it starts. `max_bytes` bounds an answer; the rest is asked for by pages."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._tally = DayTally(0)
        self._lock = threading.Lock()  # the tally's views must not go back in time

    def snapshot(self, limit: int, max_bytes: int, now_ms: int) -> dict[str, Any]:
        """Return the newest marks, the people, the figures and the seq they reflect, all of one moment."""
        with self._lock, self._database.read() as connection:
            people_page, people_bytes = _people_page(people_after(connection, ""), max_bytes // 4)
            marks_page = _marks_page(newest_marks(connection, _BEYOND_EVERY_SEQ, limit), max_bytes - people_bytes)
            if not self._tally.covers(now_ms):
                self._tally = DayTally(now_ms)
            self._tally.bring_up_to_date(connection)
            figures = {
                "seq": last_number(connection, "outbox"),
                "total": last_number(connection, "marks") - last_number(connection, "voids"),
                "today": self._tally.marks,
                "peopleToday": self._tally.people,
                "perHour": self._tally.per_hour,
            }
        return {"type": "snapshot", **figures, **marks_page, **people_page}

    def marks(self, before_seq: int, limit: int, max_bytes: int) -> dict[str, Any]:
        """Return the newest marks before a row number."""
        with self._database.read() as connection:
            return {"type": "marks", **_marks_page(newest_marks(connection, before_seq, limit), max_bytes)}

    def people(self, after_id: str, max_bytes: int) -> dict[str, Any]:
        """Return people in the order of their ids, those after one."""
        with self._database.read() as connection:
            people_page, _ = _people_page(people_after(connection, after_id), max_bytes)
        return {"type": "people", **people_page}


def _marks_page(marks: Iterable[Mark], max_bytes: int) -> dict[str, Any]:
    messages, _ = _first_that_fit(map(mark_message, marks), max_bytes)
    oldest = messages[-1]["markSeq"] if messages else 0
    return {"marks": messages, "nextBeforeSeq": oldest if oldest > 1 else None}  # row numbers begin with 1


def _people_page(people: list[Person], max_bytes: int) -> tuple[dict[str, Any], int]:
    """Return the page and its size."""
    messages, size_bytes = _first_that_fit(map(person_message, people), max_bytes)
    has_more = len(messages) < len(people)
    return {"people": messages, "nextAfterPerson": messages[-1]["personId"] if has_more else None}, size_bytes


def _first_that_fit(messages: Iterable[dict[str, Any]], max_bytes: int) -> tuple[list[dict[str, Any]], int]:
    """Return as many of the first messages as fit with a comma each, and their size."""
    fitting: list[dict[str, Any]] = []
    size_bytes = 0
    for message in messages:
        larger_bytes = size_bytes + len(msgspec.json.encode(message)) + 1
        if larger_bytes > max_bytes:
            break
        fitting.append(message)
        size_bytes = larger_bytes
    return fitting, size_bytes
