"""Upkeep: the outbox and the write-ahead log stay bounded, and marks stay."""

import threading

import pytest
from structlog.testing import capture_logs

from server_proc import database as database_module
from server_proc import outbox as outbox_module
from server_proc import upkeep as upkeep_module
from server_proc.database_errors import DatabaseBusyError
from server_proc.marks import NewMark
from server_proc.store import MarkQuery
from server_proc.upkeep import Upkeep

NOW_MS = 1_769_846_400_500
DEADLINE_S = 30


@pytest.fixture
def upkeep(database, outbox):
    return Upkeep(database, outbox)


def test_old_messages_go_in_slices_and_marks_stay(services, upkeep, monkeypatch):
    monkeypatch.setattr(outbox_module, "KEPT_MESSAGES", 10)
    monkeypatch.setattr(outbox_module, "DROPPED_AT_ONCE", 7)
    for n in range(50):
        services.store.record(NewMark(person_id=str(n)), NOW_MS)
    with capture_logs() as logs:
        upkeep.once()
        upkeep.once()
    assert logs == [{"event": "outbox_trimmed", "log_level": "info", "dropped": 40, "oldest": 41, "newest": 50}]
    assert len(services.store.list_marks(MarkQuery(limit=100))) == 50


def test_the_write_ahead_log_is_emptied_when_it_has_grown(database, upkeep, monkeypatch):
    monkeypatch.setattr(upkeep_module, "MAX_LOG_BYTES", 100_000)
    grow(database)
    assert database.log_bytes() > 100_000
    upkeep.once()
    assert database.log_bytes() == 0


def test_readers_that_follow_each_other_without_a_pause_do_not_keep_the_log(database, upkeep, monkeypatch):
    monkeypatch.setattr(upkeep_module, "MAX_LOG_BYTES", 100_000)
    monkeypatch.setattr(database_module, "LOG_PATIENCE_MS", DEADLINE_S * 1000)  # as long as a read may take here
    is_over = threading.Event()
    has_begun = threading.Semaphore(0)

    def read_without_end():
        while not is_over.is_set():
            with database.read() as connection:
                connection.execute("SELECT count(*) FROM meta").fetchone()
                has_begun.release()

    readers = [threading.Thread(target=read_without_end) for _ in range(3)]
    for reader in readers:
        reader.start()
    try:
        for _ in range(3):
            assert has_begun.acquire(timeout=DEADLINE_S)
        grow(database)
        upkeep.once()
        assert database.log_bytes() == 0
    finally:
        is_over.set()
        for reader in readers:
            reader.join(DEADLINE_S)


def test_a_reader_that_does_not_end_is_told_and_holds_up_no_mark(database, services, upkeep, monkeypatch):
    monkeypatch.setattr(upkeep_module, "MAX_LOG_BYTES", 100_000)
    monkeypatch.setattr(database_module, "LOG_PATIENCE_MS", 1)
    with database.read() as connection, capture_logs() as logs:
        connection.execute("SELECT count(*) FROM meta").fetchone()
        grow(database)
        upkeep.once()
        assert services.store.record(NewMark(person_id="1"), NOW_MS)[1]
    assert [line["event"] for line in logs] == ["database_log_kept"]
    upkeep.once()
    assert database.log_bytes() == 0


def test_its_thread_survives_what_goes_wrong_and_ends_when_told(upkeep, monkeypatch):
    rounds = threading.Semaphore(0)
    errors = iter([DatabaseBusyError("busy"), ZeroDivisionError()])

    def fail():
        rounds.release()
        raise next(errors, DatabaseBusyError("busy"))

    monkeypatch.setattr(upkeep_module, "INTERVAL_S", 0.001)
    monkeypatch.setattr(upkeep, "once", fail)
    with capture_logs():
        upkeep.start()
        for _ in range(4):
            assert rounds.acquire(timeout=DEADLINE_S)
        monkeypatch.setattr(upkeep_module, "INTERVAL_S", DEADLINE_S)
        upkeep.stop()
    assert not upkeep._thread.is_alive()


def grow(database):
    for n in range(30):
        with database.write() as transaction:
            transaction.connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (str(n), "x" * 10_000))
