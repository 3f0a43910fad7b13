"""A database in a temporary directory and the parts that work on it, without sockets."""

import pytest

from server_proc.database import open_database
from server_proc.outbox import OutboxLog
from server_proc.people import PeopleStore
from server_proc.services import Services
from server_proc.snapshots import SnapshotReader
from server_proc.store import MarkStore
from server_proc.voids import VoidStore

NOW_S = 1_769_846_400.5  # 2026-01-31T08:00:00.500Z


class FakeHub:
    """Stands in for the hub: remembers what the outbox held at each announcement."""

    def __init__(self, outbox):
        self._outbox = outbox
        self.announced_at = []
        self.is_serving = True
        self.clients = 2

    def announce(self):
        self.announced_at.append(self._outbox.newest)
        return self.clients


class FakeClock:
    def __init__(self, now_s=NOW_S):
        self.now_s = now_s

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def database_path(tmp_path):
    return tmp_path / "state" / "attendance.db"


@pytest.fixture
def database(database_path):
    database = open_database(database_path)
    yield database
    database.close()


@pytest.fixture
def outbox(database, clock):
    return OutboxLog(database, clock=clock)


@pytest.fixture
def services(database, outbox, clock):
    return Services(
        database=database,
        outbox=outbox,
        store=MarkStore(database, outbox),
        people=PeopleStore(database, outbox),
        voids=VoidStore(database, outbox),
        snapshots=SnapshotReader(database),
        hub=FakeHub(outbox),
        clock=clock,
    )
