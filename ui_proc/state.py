"""What the board knows: the marks, the counts, and up to which seq it has followed the server.

Owns the rules of following: a snapshot, then only what is newer, each mark once. Must not know Qt, sockets or a
clock; the time comes in as an argument. Pure: the GUI thread is the only caller in the product.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from datetime import date, datetime, tzinfo
from enum import Enum
from itertools import zip_longest
from typing import Annotated, Any

import msgspec

from ui_proc.capped_rows import CappedRows

MAX_ROWS = 10_000
MARK_TYPE = "attendance"
VOID_TYPE = "void"
PERSON_TYPE = "person"
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
    void_reason: str | None = None


class Void(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """That a mark does not count, and why."""

    mark_id: str
    reason: str


class Person(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What a person is called."""

    person_id: str
    name: str


Change = Mark | Void | Person


class Snapshot(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The server's answer to `{"type": "snapshot"}`: marks newest first, and the seq that they reflect.

    What did not fit is asked for by pages, as long as there is a `next_...`.
    """

    seq: int
    marks: list[Mark]
    total: int
    today: int
    people_today: int = 0
    per_hour: list[int] = []
    people: list[Person] = []
    next_before_seq: int | None = None
    next_after_person: str | None = None

    def with_page(self, page: Page) -> Snapshot:
        """Return the snapshot with the page that it lacked."""
        is_of_marks = page.type == "marks"
        return msgspec.structs.replace(
            self,
            marks=self.marks + page.marks,
            people=self.people + page.people,
            next_before_seq=page.next_before_seq if is_of_marks else self.next_before_seq,
            next_after_person=self.next_after_person if is_of_marks else page.next_after_person,
        )


class Page(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """More marks, or more people, of a snapshot."""

    type: str
    marks: list[Mark] = []
    people: list[Person] = []
    next_before_seq: int | None = None
    next_after_person: str | None = None


class Counts(msgspec.Struct, frozen=True):
    """The figures above the board, without marks that were voided; `people` are the distinct ones of today."""

    today: int
    people: int
    total: int


class Applied(Enum):
    """What became of a message."""

    PENDING = "pending"  # will be a row with the next `publish`
    HELD = "held"  # a snapshot is on its way; decided when it is loaded
    OLD = "old"  # its seq is already reflected
    DUPLICATE = "duplicate"  # another row has its mark id
    CHANGED = "changed"  # rows that are shown look different now


_CHANGES: dict[object, type[Change]] = {MARK_TYPE: Mark, VOID_TYPE: Void, PERSON_TYPE: Person}


def read_change(payload: Payload) -> Change | None:
    """Return what a message changes on the board, None for any other message. Raises MessageError naming the field."""
    kind = payload.get("type")
    form = _CHANGES.get(kind) if isinstance(kind, str) else None
    if form is None:
        return None
    try:
        return msgspec.convert(payload, form)
    except msgspec.ValidationError as error:
        raise MessageError(f"{kind} message: {error}") from error


def read_page(payload: Payload) -> Page:
    """Return a page of a snapshot. Raises MessageError naming the field."""
    try:
        return msgspec.convert(payload, Page)
    except msgspec.ValidationError as error:
        raise MessageError(f"page of a snapshot: {error}") from error


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
        self._held: deque[tuple[int, Change]] = deque()
        self._lost_to_seq = 0
        self._ids: set[str] = set()
        self._today = self._total = 0
        self._people: Counter[str] = Counter()
        self._people_elsewhere = 0  # of today, in marks that this board has no room for
        self._per_hour = [0] * HOURS
        self._voids: dict[str, str] = {}
        self._names: dict[str, str] = {}

    @property
    def day(self) -> date:
        return self._day

    @property
    def counts(self) -> Counts:
        people = sum(count > 0 for count in self._people.values())
        return Counts(self._today, people + self._people_elsewhere, self._total)

    @property
    def per_hour(self) -> tuple[int, ...]:
        """Today's marks by local hour."""
        return tuple(self._per_hour)

    def name_of(self, person_id: str) -> str | None:
        """Return what a person is called, if that is known."""
        return self._names.get(person_id)

    def void_reason(self, mark: Mark) -> str | None:
        """Return why a mark does not count; None when it does."""
        return self._voids.get(mark.id, mark.void_reason)

    def begin_sync(self) -> None:
        """A snapshot is being asked for: hold back what arrives until it is loaded."""
        self.is_syncing = True
        self._held.clear()
        self._lost_to_seq = 0

    def apply(self, seq: int, change: Change) -> Applied:
        """Take in what message `seq` changes; a mark becomes visible with the next `publish`."""
        if self.is_syncing:
            self._hold(seq, change)
            return Applied.HELD
        if seq <= self.newest_seq:
            return Applied.OLD
        self.newest_seq = seq
        if isinstance(change, Void):
            return self._void(change)
        if isinstance(change, Person):
            self._names[change.person_id] = change.name
            return Applied.CHANGED
        return self._take(change)

    def _take(self, mark: Mark) -> Applied:
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
        self._voids.clear()
        self._names = {person.person_id: person.name for person in snapshot.people}
        self._recount()
        # The server counts every mark of the day; the board holds only the newest ones.
        self._today = max(self._today, snapshot.today)
        self._people_elsewhere = max(0, snapshot.people_today - len(self._people))
        self._per_hour = [max(pair) for pair in zip_longest(self._per_hour, snapshot.per_hour, fillvalue=0)][:HOURS]
        self._total = snapshot.total
        for seq, change in held:
            self.apply(seq, change)
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

    def _hold(self, seq: int, change: Change) -> None:
        if len(self._held) == self.rows.max_rows:
            self._lost_to_seq = self._held.popleft()[0]
        self._held.append((seq, change))

    def _add(self, mark: Mark) -> None:
        self._ids.add(mark.id)
        pushed_out = self.rows.add(mark)
        if pushed_out is not None:
            self._forget([pushed_out])

    def _void(self, void: Void) -> Applied:
        self._total -= 1
        mark = next((mark for mark in self.rows.everything() if mark.id == void.mark_id), None)
        if mark is not None:
            if self.void_reason(mark) is None:  # else a page that came later than the snapshot has it already
                self._today -= self._count(mark, -1)
            self._voids[mark.id] = void.reason
        return Applied.CHANGED

    def _forget(self, marks: Iterable[Mark]) -> None:
        for mark in marks:
            self._ids.discard(mark.id)
            self._voids.pop(mark.id, None)

    def _recount(self) -> None:
        self._people.clear()
        self._people_elsewhere = 0
        self._per_hour = [0] * HOURS
        self._today = sum(self._count(mark) for mark in self.rows.everything())

    def _count(self, mark: Mark, step: int = 1) -> bool:
        """Count a mark, or with a step of -1 no longer; return whether it is one of today that stands."""
        local = mark.timestamp.astimezone(self._zone)
        if local.date() != self._day or self.void_reason(mark) is not None:
            return False
        self._people[mark.person_id] += step
        self._per_hour[local.hour] += step
        return True
