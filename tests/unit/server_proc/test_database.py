"""The database file: durable, one writer at a time, refused with one line when it is not ours to use."""

import os
import sqlite3
import stat
import tempfile
import threading
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from server_proc.database import MIGRATIONS_DIR, open_database
from server_proc.database_errors import DatabaseBusyError, DatabaseFullError, DatabaseUnusableError


def insert(database, key, value="x"):
    with database.write() as transaction:
        transaction.connection.execute("INSERT INTO meta (key, value) VALUES (?, ?)", (key, value))


def keys(database):
    with database.read() as connection:
        return {key for (key,) in connection.execute("SELECT key FROM meta").fetchall()}


def pragma(database, name):
    with database.write() as transaction:
        return transaction.connection.execute(f"PRAGMA {name}").fetchone()[0]


@contextmanager
def as_somebody_without_privileges():
    """Root may write everywhere; nobody may not."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


def refusal(path, **options):
    with pytest.raises(DatabaseUnusableError) as caught:
        open_database(path, **options)
    line = str(caught.value)
    assert "\n" not in line
    assert str(path) in line
    return line


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
    database._writer.close()


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


@pytest.mark.parametrize("content", [b"this is no database\n" * 100, b"SQLite format 3\x00" + b"\xff" * 5000])
def test_a_corrupt_file_is_refused_and_left_as_it_is(database_path, content):
    database_path.parent.mkdir()
    database_path.write_bytes(content)
    assert "restore a backup" in refusal(database_path)
    assert database_path.read_bytes() == content


def test_a_file_that_somebody_else_has_locked_is_worth_another_try(database_path, monkeypatch):
    monkeypatch.setattr("server_proc.database.BUSY_TIMEOUT_S", 0.01)
    database_path.parent.mkdir()
    with closing(sqlite3.connect(database_path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(DatabaseBusyError, match="locked") as caught:
            open_database(database_path)
    assert str(database_path) in str(caught.value)
    open_database(database_path).close()


def test_a_newer_file_is_refused_and_left_as_it_is(database_path):
    open_database(database_path).close()
    with closing(sqlite3.connect(database_path)) as connection:
        connection.execute("PRAGMA user_version = 99")
    before = database_path.read_bytes()
    newest = len(list(MIGRATIONS_DIR.glob("*.sql")))
    assert f"newer Axon (schema 99, this one knows {newest})" in refusal(database_path)
    assert database_path.read_bytes() == before


def test_a_database_of_another_program_is_refused_and_left_as_it_is(database_path):
    database_path.parent.mkdir()
    with closing(sqlite3.connect(database_path)) as connection:
        connection.execute("CREATE TABLE bookmarks (url)")
    before = database_path.read_bytes()
    assert "another program" in refusal(database_path)
    assert database_path.read_bytes() == before


def test_a_directory_in_its_place_is_refused(database_path):
    database_path.mkdir(parents=True)
    assert "Is a directory" in refusal(database_path)


def test_a_state_directory_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "state").write_text("a file")
    assert "cannot open" in refusal(tmp_path / "state" / "attendance.db")


@pytest.mark.parametrize("locked", ["directory", "file"])
def test_what_may_not_be_written_is_refused(locked):
    with tempfile.TemporaryDirectory() as directory:  # unlike tmp_path, below directories that anybody may enter
        path = Path(directory) / "attendance.db"
        Path(directory).chmod(0o755)
        if locked == "directory":
            Path(directory).chmod(0o555)
        else:
            path.touch(0o444)
        with as_somebody_without_privileges():
            assert "Permission denied" in refusal(path)


def test_migrations_are_applied_in_order_each_once(tmp_path):
    migrations = tmp_path / "migrations"
    migrations.mkdir()
    (migrations / "0001_a.sql").write_text("CREATE TABLE a (x); INSERT INTO a VALUES (1);")
    path = tmp_path / "some.db"
    open_database(path, migrations).close()
    (migrations / "0002_b.sql").write_text("ALTER TABLE a ADD COLUMN y; INSERT INTO a VALUES (2, 2);")
    for _ in range(2):
        database = open_database(path, migrations)
        with database.read() as connection:
            assert connection.execute("SELECT * FROM a").fetchall() == [(1, None), (2, 2)]
            assert connection.execute("PRAGMA user_version").fetchone() == (2,)
        database.close()


def test_a_migration_that_fails_changes_nothing(tmp_path):
    migrations = tmp_path / "migrations"
    migrations.mkdir()
    (migrations / "0001_a.sql").write_text("CREATE TABLE a (x);")
    path = tmp_path / "some.db"
    open_database(path, migrations).close()
    (migrations / "0002_b.sql").write_text("CREATE TABLE b (x); INSERT INTO nowhere VALUES (1);")
    assert "no such table: nowhere" in refusal(path, migrations_dir=migrations)
    (migrations / "0002_b.sql").unlink()
    database = open_database(path, migrations)
    with database.read() as connection:
        assert connection.execute("SELECT name FROM sqlite_schema").fetchall() == [("a",)]
    database.close()


def test_migrations_are_numbered_without_a_hole():
    numbers = [int(path.name[:4]) for path in sorted(MIGRATIONS_DIR.glob("*.sql"))]
    assert numbers == list(range(1, len(numbers) + 1))
