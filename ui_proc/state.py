"""What the board knows: the marks, the counts, and up to which seq it has followed the server.

Owns the rules of following: a snapshot, then only what is newer, each mark once. Must not know Qt, sockets or a
clock; the time comes in as an argument. Pure: the GUI thread is the only caller in the product.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from datetime import date, datetime, tzinfo
from enum import Enum
from typing import Annotated, Any

import msgspec

from ui_proc.capped_rows import CappedRows

MAX_ROWS = 10_000
MARK_TYPE = "attendance"
HOURS = 24

Payload = dict[str, Any]
Moment = Annotated[datetime, msgspec.Meta(tz=True)]


class MessageError(ValueError):
    """The other side sent a mark or a snapshot that does not fit its form; the text names the field."""


class Mark(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One attendance mark as it travels."""

    id: str
    mark_seq: int
    person_id: str
    timestamp: Moment
    received_at: Moment
    source: str | None = None


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """The server's answer to `{"type": "snapshot"}`: marks newest first, and the seq that they reflect."""

    seq: int
    marks: list[Mark]
    total: int
    today: int


class Counts(msgspec.Struct, frozen=True):
    """The figures above the board; `people` are the distinct ones of today, among the marks this ui has seen."""

    today: int
    people: int
    total: int


class Applied(Enum):
    """What became of a message."""

    PENDING = "pending"  # will be a row with the next `publish`
    HELD = "held"  # a snapshot is on its way; decided when it is loaded
    OLD = "old"  # its seq is already reflected
    DUPLICATE = "duplicate"  # another row has its mark id


def read_mark(payload: Payload) -> Mark:
    """Return the mark in an attendance message. Raises MessageError naming the field."""
    try:
        return msgspec.convert(payload, Mark)
    except msgspec.ValidationError as error:
        raise MessageError(f"attendance message: {error}") from error


def read_snapshot(payload: Payload) -> Snapshot:
    """Return the snapshot in a reply. Raises MessageError naming the field."""
    try:
        return msgspec.convert(payload, Snapshot)
    except msgspec.ValidationError as error:
        raise MessageError(f"snapshot: {error}") from error


class BoardState:
    """The board: begin_sync -> apply (held) -> load -> apply -> publish."""

    def __init__(self, today: date, max_rows: int = MAX_ROWS, zone: tzinfo | None = None) -> None:
        """`zone` None means the zone of this computer."""
        self.rows: CappedRows[Mark] = CappedRows(max_rows)
        self.newest_seq = 0
        self.is_syncing = True
        self.is_loaded = False
        self._zone = zone
        self._day = today
        self._held: deque[tuple[int, Mark]] = deque()
        self._lost_to_seq = 0
        self._ids: set[str] = set()
        self._today = self._total = 0
        self._people: set[str] = set()
        self._per_hour = [0] * HOURS

    @property
    def day(self) -> date:
        return self._day

    @property
    def counts(self) -> Counts:
        return Counts(self._today, len(self._people), self._total)

    @property
    def per_hour(self) -> tuple[int, ...]:
        """Today's marks by local hour, among the marks this ui has seen."""
        return tuple(self._per_hour)

    def begin_sync(self) -> None:
        """A snapshot is being asked for: hold back what arrives until it is loaded."""
        self.is_syncing = True
        self._held.clear()
        self._lost_to_seq = 0

    def apply(self, seq: int, mark: Mark) -> Applied:
        """Take in the mark of message `seq`; it becomes visible with the next `publish`."""
        if self.is_syncing:
            self._hold(seq, mark)
            return Applied.HELD
        if seq <= self.newest_seq:
            return Applied.OLD
        self.newest_seq = seq
        if mark.id in self._ids:
            return Applied.DUPLICATE
        self._add(mark)
        self._today += self._count(mark)
        self._total += 1
        return Applied.PENDING

    def load(self, snapshot: Snapshot) -> bool:
        """Replace the board by the snapshot and what was held back after it.

        Return False when messages were lost while holding back: the board is not complete, ask again.
        """
        if self._lost_to_seq > snapshot.seq:
            self.begin_sync()
            return False
        held, self._held = self._held, deque()
        self.is_syncing, self.is_loaded = False, True
        self.newest_seq = snapshot.seq
        self.rows.replace(reversed(snapshot.marks))
        self._ids = {mark.id for mark in self.rows.everything()}
        self._recount()
        # The server counts every mark of the day; a snapshot holds only the newest ones.
        self._today = max(self._today, snapshot.today)
        self._total = snapshot.total
        for seq, mark in held:
            self.apply(seq, mark)
        self.drop_oldest()
        self.publish()
        return True

    def roll(self, today: date) -> bool:
        """Start a new day's counts if it is one; return whether it was."""
        if today == self._day:
            return False
        self._day = today
        self._recount()
        return True

    def drop_oldest(self) -> None:
        """Remove the rows that must go before the pending ones fit."""
        self._forget(self.rows.drop_oldest())

    def publish(self) -> int:
        """Put the pending rows on the board; return how many."""
        return self.rows.publish()

    def _hold(self, seq: int, mark: Mark) -> None:
        if len(self._held) == self.rows.max_rows:
            self._lost_to_seq = self._held.popleft()[0]
        self._held.append((seq, mark))

    def _add(self, mark: Mark) -> None:
        self._ids.add(mark.id)
        pushed_out = self.rows.add(mark)
        if pushed_out is not None:
            self._forget([pushed_out])

    def _forget(self, marks: Iterable[Mark]) -> None:
        self._ids.difference_update(mark.id for mark in marks)

    def _recount(self) -> None:
        self._people.clear()
        self._per_hour = [0] * HOURS
        self._today = sum(self._count(mark) for mark in self.rows.everything())

    def _count(self, mark: Mark) -> bool:
        local = mark.timestamp.astimezone(self._zone)
        if local.date() != self._day:
            return False
        self._people.add(mark.person_id)
        self._per_hour[local.hour] += 1
        return True
