"""A server that cannot begin yet: it waits, says why, and ends when told to."""

import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing

import pytest
from structlog.testing import capture_logs

from ipc import ChildSetupError
from server_proc import patient_start
from server_proc.database import DATABASE_NAME, open_database
from tests.unit.server_proc.running_server import DEADLINE_S, RunningServer, Sockets, kept_logging


@pytest.fixture
def sockets(tmp_path):
    sockets = Sockets(tmp_path)
    yield sockets
    sockets.close()


@pytest.fixture
def lock(tmp_path, monkeypatch):
    """Another program's lock, under which nobody can even read."""
    monkeypatch.setattr(patient_start, "RETRY_S", 0.01)
    path = tmp_path / DATABASE_NAME
    open_database(path).close()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("UPDATE meta SET value = value")
        yield connection


@pytest.fixture
def waited(monkeypatch):
    """Set when the server has said that it waits."""
    said = threading.Event()
    say = patient_start.PatientStart._say

    def note(self, error):
        say(self, error)
        said.set()

    monkeypatch.setattr(patient_start.PatientStart, "_say", note)
    return said


def test_a_locked_database_is_waited_for(sockets, tmp_path, lock, waited):
    server = RunningServer(sockets, tmp_path)
    with capture_logs() as logs, kept_logging():
        server._thread.start()
        assert waited.wait(DEADLINE_S)
        lock.close()
        assert server.context.is_ready.wait(DEADLINE_S), server.error
        assert server.post({"personId": "1"}).status == 201
        assert server.stop() == 0
    assert [line["event"] for line in logs].count("database_waited") == 1


@pytest.mark.usefixtures("lock")
def test_a_server_that_waits_ends_when_told_to(sockets, tmp_path, waited):
    server = RunningServer(sockets, tmp_path)
    with capture_logs(), kept_logging():
        server._thread.start()
        assert waited.wait(DEADLINE_S)
        assert server.stop() == 0


@pytest.mark.usefixtures("lock")
def test_waiting_for_too_long_is_a_crash_with_a_reason_that_may_pass(sockets, tmp_path, monkeypatch):
    monkeypatch.setattr(patient_start, "PATIENCE_S", 0.0)
    server = RunningServer(sockets, tmp_path)
    with capture_logs() as logs, kept_logging():
        server._thread.start()
        server._thread.join(DEADLINE_S)
        assert server.stop() == 1
    (abandoned,) = [line for line in logs if line["event"] == "database_abandoned"]
    assert "locked" in abandoned["reason"]


WRITE_AND_DIE = """
import os, signal, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute(sys.argv[2])
os.kill(os.getpid(), signal.SIGKILL)
"""
MARK = "INSERT INTO marks (id, person_id, timestamp_ms, received_ms) VALUES ('1', '1', 1, 1)"


@pytest.mark.parametrize(
    ("sql", "damaged_from", "reason"),
    [("PRAGMA user_version = 99", None, "newer Axon"), (MARK, 4096, "restore a backup"), (MARK, 0, "restore a backup")],
)
def test_a_database_that_is_refused_keeps_every_byte_also_those_of_its_log(
    sockets, tmp_path, sql, damaged_from, reason
):
    """A server that was killed leaves a log, which SQLite would copy into the file and delete."""
    path = tmp_path / DATABASE_NAME
    open_database(path).close()
    done = subprocess.run([sys.executable, "-c", WRITE_AND_DIE, str(path), sql], timeout=DEADLINE_S)
    assert done.returncode == -signal.SIGKILL
    if damaged_from is not None:
        with path.open("r+b") as file:
            size = file.seek(0, 2)
            file.seek(damaged_from)
            file.write(b"\xff" * (size - damaged_from))
    files = [path, path.with_name(f"{DATABASE_NAME}-wal")]
    before = [file.read_bytes() for file in files]
    server = RunningServer(sockets, tmp_path)
    with capture_logs(), kept_logging():
        server._thread.start()
        server._thread.join(DEADLINE_S)
        with pytest.raises(ChildSetupError, match=reason):
            server.stop()
    assert [file.read_bytes() for file in files] == before
