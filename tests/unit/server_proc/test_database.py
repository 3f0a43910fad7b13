"""The database file: durable, one writer at a time, refused with one line when it is not ours to use."""

import sqlite3
import stat
import threading
from contextlib import closing

import pytest

from server_proc.database import open_database
from server_proc.database_errors import DatabaseBusyError, DatabaseFullError, DatabaseUnusableError
from tests.unit.server_proc.running_server import DEADLINE_S


def insert(database, key, value="x"):
    with database.write() as transaction:
        transaction.connection.execute("INSERT INTO meta (key, value) VALUES (?, ?)", (key, value))


def keys(database):
    with database.read() as connection:
        return {key for (key,) in connection.execute("SELECT key FROM meta").fetchall()}


def pragma(database, name):
    with database.write() as transaction:
        return transaction.connection.execute(f"PRAGMA {name}").fetchone()[0]


def test_a_commit_is_on_the_disk_before_it_returns(database):
    assert pragma(database, "journal_mode") == "wal"
    assert pragma(database, "synchronous") == 2  # FULL


def test_only_the_owner_may_read_the_file_and_its_side_files(database, database_path):
    insert(database, "a")
    files = sorted(database_path.parent.iterdir())
    assert [file.name for file in files] == ["attendance.db", "attendance.db-shm", "attendance.db-wal"]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_what_was_written_is_there_after_opening_again(database, database_path):
    insert(database, "a")
    other = open_database(database_path)
    try:
        assert "a" in keys(other)
    finally:
        other.close()


def test_a_block_that_raises_leaves_nothing_and_the_next_one_works(database):
    def fail_half_way():
        with database.write() as transaction:
            transaction.connection.execute("INSERT INTO meta VALUES ('gone', '')")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_half_way()
    insert(database, "kept")
    assert keys(database) == {"epoch", "kept"}


def test_a_mistake_in_sql_stays_an_error_of_sqlite_and_leaves_nothing(database):
    def insert_twice():
        with database.write() as transaction:
            transaction.connection.execute("INSERT INTO meta VALUES ('gone', '')")
            transaction.connection.execute("INSERT INTO meta VALUES ('epoch', '')")

    with pytest.raises(sqlite3.IntegrityError):
        insert_twice()
    assert keys(database) == {"epoch"}


def test_after_commit_runs_in_order_once_it_is_committed(database):
    seen = []
    with database.write() as transaction:
        transaction.connection.execute("INSERT INTO meta VALUES ('a', '')")
        transaction.after_commit(lambda: seen.append(("first", "a" in keys(database))))
        transaction.after_commit(lambda: seen.append(("second", "a" in keys(database))))
        assert seen == []
    assert seen == [("first", True), ("second", True)]


def test_after_commit_does_not_run_after_a_failure(database):
    seen = []

    def fail():
        with database.write() as transaction:
            transaction.after_commit(lambda: seen.append("never"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert seen == []


def test_a_reader_sees_one_moment_and_does_not_hold_up_a_writer(database):
    with database.read() as connection:
        before = connection.execute("SELECT count(*) FROM meta").fetchone()
        insert(database, "later")
        assert connection.execute("SELECT count(*) FROM meta").fetchone() == before
    assert "later" in keys(database)


def test_a_reader_that_fails_is_not_used_again(database):
    with pytest.raises(ZeroDivisionError), database.read() as failed:
        raise ZeroDivisionError
    with database.read() as connection:
        assert connection is not failed
    with database.read() as again:
        assert again is connection


def test_a_writer_waits_no_longer_than_it_is_willing_to(database):
    entered, release = threading.Event(), threading.Event()

    def hold():
        with database.write():
            entered.set()
            release.wait(10)

    holder = threading.Thread(target=hold)
    holder.start()
    try:
        assert entered.wait(10)
        with pytest.raises(DatabaseBusyError, match=r"under way for 0\.01 s"):
            database.check_writable(0.01)
    finally:
        release.set()
        holder.join(10)
    database.check_writable(0.01)


def test_after_closing_nothing_is_opened_again(database, database_path):
    database.close()
    with pytest.raises(DatabaseBusyError, match="closed"):
        keys(database)
    with pytest.raises(DatabaseBusyError, match="closed"):
        insert(database, "a")
    assert [file.name for file in database_path.parent.iterdir()] == ["attendance.db"]


def test_closing_does_not_wait_for_a_writer_that_hangs(database, monkeypatch):
    monkeypatch.setattr("server_proc.database.CLOSE_PATIENCE_S", 0.01)
    with database.write() as transaction:
        database.close()
        transaction.connection.execute("INSERT INTO meta VALUES ('a', '')")
    database._writer.close(1)


def test_closing_waits_once_for_all_who_hang(database, monkeypatch):
    monkeypatch.setattr("server_proc.database.CLOSE_PATIENCE_S", 0.5)
    close, left_s = database._writer.close, []
    monkeypatch.setattr(database._writer, "close", lambda patience_s: (left_s.append(patience_s), close(patience_s)))
    with database.write():
        future = database.submit(lambda _transaction, items: items, "in line")
        database.close()
        assert left_s == [pytest.approx(0, abs=0.01)]  # the thread that writes for others has had it all
    with pytest.raises(DatabaseBusyError, match="closed"):
        future.result(DEADLINE_S)
    database._writer.close(1)


def test_a_full_disk_is_told_apart_and_it_works_again_with_room(database):
    pages = pragma(database, "page_count")
    pragma(database, f"max_page_count = {pages}")
    with pytest.raises(DatabaseFullError):
        insert(database, "big", "x" * 100_000)
    pragma(database, "max_page_count = 1000000")
    insert(database, "big", "x" * 100_000)
    assert keys(database) == {"epoch", "big"}


def test_a_file_that_breaks_while_it_is_open_is_our_kind_of_error(database, database_path):
    with closing(sqlite3.connect(database_path)) as other:
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    with database_path.open("r+b") as file:
        file.write(b"rubbish" * 1000)
    with pytest.raises(DatabaseUnusableError):
        keys(database)
