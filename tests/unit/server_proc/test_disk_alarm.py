"""The alarm for a full disk: once per episode, and taken back only by a write."""

import sqlite3

import pytest
from structlog.testing import capture_logs

from server_proc import disk_alarm
from server_proc.database_errors import DatabaseBusyError, DatabaseFullError
from server_proc.disk_alarm import DiskAlarm


@pytest.fixture
def now_s():
    return [100.0]


@pytest.fixture
def alarm(tmp_path, now_s):
    return DiskAlarm(tmp_path / "some.db", clock=lambda: now_s[0])


def io_error():
    error = DatabaseBusyError("disk I/O error")
    error.__cause__ = sqlite3.OperationalError("disk I/O error")
    error.__cause__.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
    return error


def test_it_is_raised_once_per_episode_and_says_how_long_it_was(alarm, now_s):
    with capture_logs() as logs:
        for _ in range(2):
            for _ in range(3):
                alarm.judge(DatabaseFullError("full"))
            assert alarm.is_raised
            now_s[0] += 60
            alarm.clear()
            alarm.clear()
            assert not alarm.is_raised
    assert [line["event"] for line in logs] == ["disk_full", "disk_recovered"] * 2
    assert [(line["lasted_s"], line["writes_refused"]) for line in logs[1::2]] == [(60, 3)] * 2


def test_other_errors_are_none_of_its_business(alarm):
    error = DatabaseBusyError("locked")
    assert alarm.judge(error) is error
    assert not alarm.is_raised


def test_an_io_error_is_a_full_disk_when_there_is_no_room(alarm, monkeypatch):
    error = io_error()
    assert alarm.judge(error) is error  # there is room
    monkeypatch.setattr(disk_alarm, "MIN_FREE_BYTES", 1 << 80)
    with capture_logs():
        assert isinstance(alarm.judge(error), DatabaseFullError)
    assert alarm.is_raised


def fill(database):
    with database.write() as transaction:
        (pages,) = transaction.connection.execute("PRAGMA page_count").fetchone()
        transaction.connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(DatabaseFullError), database.write() as transaction:
        transaction.connection.execute("INSERT INTO meta VALUES ('big', ?)", ("x" * 100_000,))


def test_the_database_raises_it_and_takes_it_back_with_the_first_write(database):
    with capture_logs() as logs:
        fill(database)
        assert database.alarm.is_raised
        with database.write():
            pass  # has written nothing, so it proves nothing
        assert database.alarm.is_raised
        with database.write() as transaction:
            transaction.connection.execute("PRAGMA max_page_count = 1000000")
            transaction.connection.execute("INSERT INTO meta VALUES ('big', ?)", ("x" * 100_000,))
        assert not database.alarm.is_raised
    assert [line["event"] for line in logs] == ["disk_full", "disk_recovered"]
