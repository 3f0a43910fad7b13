"""A database in a temporary directory, the parts that work on it and the HTTP API over them, without sockets."""

import json

import pytest
from werkzeug.test import Client

from server_proc.app import create_app
from server_proc.database import open_database
from server_proc.main import make_wsgi_app
from server_proc.outbox import OutboxLog
from server_proc.people import PeopleStore
from server_proc.services import Services
from server_proc.snapshots import SnapshotReader
from server_proc.store import MarkStore
from server_proc.voids import VoidStore
from tests.unit.server_proc.running_server import be_patient

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


class FakeClock:
    def __init__(self, now_s=NOW_S):
        self.now_s = now_s

    def __call__(self):
        return self.now_s


@pytest.fixture(autouse=True)
def _patient(monkeypatch):
    be_patient(monkeypatch.setattr)


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


@pytest.fixture
def client(services):
    return Client(make_wsgi_app(create_app(services), services, ("127.0.0.1", 1340)))


@pytest.fixture
def post(client):
    def post(path="/api/attendance", body=None, **options):
        options = {"content_type": "application/json", "base_url": "http://localhost:1340", **options}
        data = body if isinstance(body, bytes) else json.dumps(body)
        return client.post(path, data=data, **options)

    return post


@pytest.fixture
def get(client):
    return lambda path, **query: client.get(path, query_string=query, base_url="http://localhost:1340")
