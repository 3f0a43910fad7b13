"""What the blueprints and the handlers of the ui work with, handed in once; nothing here is global. Any thread."""

from __future__ import annotations

import time
from concurrent.futures import Future
from typing import Any, Protocol

import msgspec

from server_proc.batch_writer import Item, Result, Work
from server_proc.database import Database
from server_proc.metrics import Metrics
from server_proc.outbox import OutboxLog
from server_proc.people import PeopleStore
from server_proc.snapshots import SnapshotReader
from server_proc.store import MarkStore
from server_proc.voids import VoidStore


class Announcer(Protocol):
    """What the blueprints need of the hub."""

    def announce(self) -> None:
        """Deliver what the outbox holds to the clients. Never raises."""

    @property
    def clients(self) -> int:
        """How many clients are connected."""

    @property
    def is_serving(self) -> bool:
        """True while clients are accepted."""


class Clock(Protocol):
    def __call__(self) -> float:
        """Return unix seconds."""


_LATER: Any = None


class Services(msgspec.Struct, kw_only=True):
    """The parts of a running server.

    What needs the database is put in once that is open: the application is made before, in a spare, and looks here when
    it is asked.
    """

    database: Database = _LATER
    outbox: OutboxLog = _LATER
    store: MarkStore = _LATER
    people: PeopleStore = _LATER
    voids: VoidStore = _LATER
    snapshots: SnapshotReader = _LATER
    hub: Announcer = _LATER
    clock: Clock = time.time
    metrics: Metrics = msgspec.field(default_factory=Metrics)

    def now_ms(self) -> int:
        return int(self.clock() * 1000)

    def submit(self, work: Work[Item, Result], item: Item, size: int = 1) -> Future[Result]:
        """Have `work` write an item, and the clients told once it is written. No thread waits; see BatchWriter."""
        return self.database.submit(work, item, size, self._announce)

    def _announce(self, written: object) -> None:
        """Whether anybody waits for the answer or not; who does finds it done."""
        if not isinstance(written, Exception):
            self.hub.announce()
