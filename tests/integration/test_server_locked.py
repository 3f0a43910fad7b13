"""A server whose database another program has locked: who writes waits, and nobody else."""

import contextlib
import http.client
import json
import select
import sqlite3
from pathlib import Path

import pytest

from server_proc import late_answer, schema
from server_proc.database import DATABASE_NAME
from server_proc.http_server import THREADS
from tests.unit.server_proc.running_server import DEADLINE_S, RunningServer, Sockets, ask

WRITES = [
    ("POST", "/api/attendance", "application/json", '{"personId": "1"}'),
    ("POST", "/api/attendance:batch", "application/json", '{"marks": [{"personId": "2"}]}'),
    ("POST", "/api/messages", "application/json", '{"type": "note"}'),
    ("PUT", "/api/people/3", "application/json", '{"name": "Ada"}'),
    ("POST", "/api/people:import", "text/csv", "id,name\n4,Grace\n"),
]


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setattr(schema, "BUSY_TIMEOUT_S", DEADLINE_S)
    monkeypatch.setattr(late_answer, "PATIENCE_S", DEADLINE_S)
    sockets = Sockets(tmp_path)
    with contextlib.closing(sockets), RunningServer(sockets, tmp_path) as server:
        yield server


@pytest.fixture
def lock(server):
    path = Path(server.context.settings.state_dir) / DATABASE_NAME
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield connection


@pytest.mark.parametrize(("method", "path", "content_type", "body"), WRITES, ids=[write[1] for write in WRITES])
def test_whoever_waits_to_write_keeps_no_thread_from_others(server, lock, method, path, content_type, body):
    with contextlib.ExitStack() as stack:
        waiting = [http.client.HTTPConnection("127.0.0.1", server.port, timeout=DEADLINE_S) for _ in range(2 * THREADS)]
        for connection in waiting:
            stack.callback(connection.close)
            connection.request(method, path, body, {"Content-Type": content_type})
        other = stack.enter_context(
            contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=DEADLINE_S))
        )
        assert json.loads(ask(other, "GET", "/healthz").body) == {"status": "ok"}
        assert select.select([connection.sock for connection in waiting], [], [], 0)[0] == []
        lock.execute("ROLLBACK")
        assert {connection.getresponse().status for connection in waiting} <= {200, 201, 202}
