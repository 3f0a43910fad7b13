"""The cool-down: of a person's marks that are close together the first to arrive stands; the rest are duplicates.

Close means by the marks' own timestamps, so that a backlog counts as it happened, in whatever order it arrives. Knows
SQL; knows neither HTTP nor the outbox. Runs inside its caller's transaction.
"""

from __future__ import annotations

import sqlite3

from server_proc.idempotency import FORGOTTEN_PER_ROW, REMEMBERED_MS
from server_proc.marks import Mark, NewMark, conflicts
from server_proc.problems import WrongFieldsError


def standing_seq(connection: sqlite3.Connection, person_id: str, timestamp_ms: int, cooldown_ms: int) -> int | None:
    """Return the row number of the person's mark nearest to a moment and less than the cool-down away, or None.

    A mark that was voided stands for nothing.
    """
    row = connection.execute(
        "SELECT mark_seq FROM marks WHERE person_id = ? AND timestamp_ms > ? AND timestamp_ms < ?"
        " AND NOT EXISTS (SELECT 1 FROM voids WHERE voids.mark_seq = marks.mark_seq)"
        " ORDER BY abs(timestamp_ms - ?), mark_seq LIMIT 1",
        (*standing_range(person_id, timestamp_ms, cooldown_ms), timestamp_ms),
    ).fetchone()
    return None if row is None else int(row[0])


def standing_range(person_id: str, timestamp_ms: int, cooldown_ms: int) -> tuple[str, int, int]:
    """Return whose marks, after which moment and before which one, can stand for one at `timestamp_ms`."""
    return person_id, timestamp_ms - cooldown_ms, timestamp_ms + cooldown_ms


def recall_duplicate(connection: sqlite3.Connection, new: NewMark, now_ms: int) -> int | None:
    """Return the row number of the mark that stood when this id was sent before, or None.

    Raises WrongFieldsError when another mark was sent under that id.
    """
    row = connection.execute(
        "SELECT standing_seq, id, person_id, timestamp_ms, received_ms, source FROM duplicates"
        " WHERE id = ? AND received_ms > ?",
        (new.id, now_ms - REMEMBERED_MS),
    ).fetchone()
    if row is None:
        return None
    mark_seq, mark_id, person_id, timestamp_ms, received_ms, source = row
    sent = Mark(
        mark_seq=mark_seq,
        id=mark_id,
        person_id=person_id,
        timestamp_ms=timestamp_ms,
        received_ms=received_ms,
        source=source,
    )
    if errors := conflicts(new, sent):
        raise WrongFieldsError(errors)
    return sent.mark_seq


def remember_duplicate(connection: sqlite3.Connection, new: NewMark, standing_seq: int, now_ms: int) -> None:
    """Keep the id of a mark that was not recorded, and forget some that are too old."""
    connection.execute(
        "INSERT OR REPLACE INTO duplicates (standing_seq, id, person_id, timestamp_ms, received_ms, source)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (standing_seq, new.id, new.person_id, new.moment_ms(now_ms), now_ms, new.source),
    )
    connection.execute(
        "DELETE FROM duplicates WHERE id IN"
        " (SELECT id FROM duplicates WHERE received_ms <= ? ORDER BY received_ms LIMIT ?)",
        (now_ms - REMEMBERED_MS, FORGOTTEN_PER_ROW),
    )
