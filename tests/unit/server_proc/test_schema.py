"""Whose file it is, whether it can be used, and how it is upgraded: refused with one line, or whole."""

import errno
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from server_proc.database import MIGRATIONS_DIR, open_database
from server_proc.database_errors import DatabaseBusyError, DatabaseFullError, DatabaseUnusableError
from server_proc.outbox import OutboxLog
from server_proc.store import MarkQuery, MarkStore


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


@pytest.mark.parametrize("content", [b"this is no database\n" * 100, b"SQLite format 3\x00" + b"\xff" * 5000])
def test_a_corrupt_file_is_refused_and_left_as_it_is(database_path, content):
    database_path.parent.mkdir()
    database_path.write_bytes(content)
    assert "restore a backup" in refusal(database_path)
    assert database_path.read_bytes() == content


def test_a_file_that_somebody_else_has_locked_is_worth_another_try(database_path, monkeypatch):
    monkeypatch.setattr("server_proc.schema.BUSY_TIMEOUT_S", 0.01)
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


def test_an_empty_file_is_a_new_database(database_path):
    database_path.parent.mkdir()
    database_path.touch()
    open_database(database_path).close()
    assert database_path.stat().st_size


@pytest.mark.parametrize("how", ["missing", "empty"])
def test_a_log_without_its_database_is_refused_and_left_as_it_is(database_path, how):
    """SQLite would delete it, and with it what a restored database might still need."""
    database_path.parent.mkdir()
    log = database_path.with_name("attendance.db-wal")
    log.write_bytes(b"changes")
    if how == "empty":
        database_path.touch()
    assert "attendance.db-wal holds changes" in refusal(database_path)
    assert log.read_bytes() == b"changes"


@pytest.mark.parametrize("content", [b"x", b"hello\n", b"SQLite format 3\x00", b"\0" * 50, b"\0" * 5000])
def test_a_few_bytes_of_something_else_are_refused_and_left_as_they_are(database_path, content):
    database_path.parent.mkdir()
    database_path.write_bytes(content)
    refusal(database_path)
    assert database_path.read_bytes() == content


@pytest.mark.parametrize("size", [5000, 4096, 12_288])
def test_a_database_that_was_cut_short_is_refused_and_left_as_it_is(database_path, size):
    open_database(database_path).close()
    with database_path.open("r+b") as file:
        file.truncate(size)
    before = database_path.read_bytes()
    refusal(database_path)
    assert database_path.read_bytes() == before


def test_what_is_no_regular_file_is_refused(database_path):
    database_path.parent.mkdir()
    os.mkfifo(database_path)
    assert "no regular file" in refusal(database_path)


WRITE_AND_DIE = """
import os, signal, sys
from pathlib import Path
from server_proc.database import open_database
with open_database(Path(sys.argv[1]), Path(sys.argv[2])).write() as transaction:
    transaction.connection.execute("INSERT INTO a VALUES (7)")
os.kill(os.getpid(), signal.SIGKILL)
"""
UPGRADE_AND_DIE = """
import os, signal, sys
from pathlib import Path
from server_proc import database
connect = database.connect
def connect_with_a_trap(path):
    connection = connect(path)
    connection.create_function("die", 0, lambda: os.kill(os.getpid(), signal.SIGKILL))
    return connection
database.connect = connect_with_a_trap
database.open_database(Path(sys.argv[1]), Path(sys.argv[2]))
"""


# -- upgrades ------------------------------------------------------------------------------------------------------


@pytest.fixture
def migrations(tmp_path):
    directory = tmp_path / "migrations"
    directory.mkdir()
    (directory / "0001_a.sql").write_text("CREATE TABLE a (x); INSERT INTO a VALUES (1);")
    return directory


@pytest.fixture
def old_path(tmp_path, migrations):
    """A database of version 1."""
    path = tmp_path / "some.db"
    open_database(path, migrations).close()
    return path


def rows(path, sql="SELECT * FROM a"):
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


def run_until_killed(program, *arguments):
    done = subprocess.run([sys.executable, "-c", program, *map(str, arguments)], timeout=30)
    return done.returncode == -signal.SIGKILL


def backups(path):
    return sorted(file.name for file in path.parent.glob("*.bak-*"))


def test_the_first_version_is_upgraded_with_all_its_marks(tmp_path, database_path):
    first = tmp_path / "first"
    first.mkdir()
    (first / "0001_first.sql").write_text((MIGRATIONS_DIR / "0001_marks_and_outbox.sql").read_text())
    open_database(database_path, first).close()
    with closing(sqlite3.connect(database_path)) as connection, connection:
        connection.execute("INSERT INTO marks (id, person_id, timestamp_ms, received_ms) VALUES ('a', '1', 5, 6)")
    with closing(open_database(database_path)) as database:
        (mark,) = MarkStore(database, OutboxLog(database)).list_marks(MarkQuery())
    assert (mark.mark_seq, mark.id, mark.void_reason) == (1, "a", None)
    assert rows(database_path.with_name("attendance.db.bak-1"), "SELECT id FROM marks") == [("a",)]


def test_a_new_database_needs_no_backup(database_path):
    open_database(database_path).close()
    assert backups(database_path) == []


def test_before_each_migration_what_was_there_is_backed_up_for_the_owner_alone(old_path, migrations):
    (migrations / "0002_b.sql").write_text("INSERT INTO a VALUES (2);")
    (migrations / "0003_c.sql").write_text("INSERT INTO a VALUES (3);")
    open_database(old_path, migrations).close()
    assert backups(old_path) == ["some.db.bak-1", "some.db.bak-2"]
    for version in (1, 2):
        backup = old_path.with_name(f"some.db.bak-{version}")
        assert stat.S_IMODE(backup.stat().st_mode) == 0o600
        assert rows(backup) == [(n + 1,) for n in range(version)]
        assert rows(backup, "PRAGMA user_version") == [(version,)]
    open_database(old_path, migrations).close()
    assert rows(old_path) == [(1,), (2,), (3,)]


def test_a_backup_has_what_is_only_in_the_log_of_a_process_that_was_killed(old_path, migrations):
    """It has no chance to close its database in order."""
    assert run_until_killed(WRITE_AND_DIE, old_path, migrations)
    assert old_path.with_name("some.db-wal").stat().st_size
    (migrations / "0002_b.sql").write_text("DELETE FROM a;")
    open_database(old_path, migrations).close()
    assert rows(old_path.with_name("some.db.bak-1")) == [(1,), (7,)]


def test_a_backup_that_cannot_be_made_refuses_the_upgrade(old_path, migrations):
    (migrations / "0002_b.sql").write_text("INSERT INTO a VALUES (2);")
    obstacle = old_path.with_name("some.db.bak-1.partial")
    obstacle.mkdir()
    line = refusal(old_path, migrations_dir=migrations)
    assert "back up" in line
    assert "some.db.bak-1" in line
    assert rows(old_path) == [(1,)]
    assert backups(old_path) == ["some.db.bak-1.partial"]
    obstacle.rmdir()
    open_database(old_path, migrations).close()
    assert rows(old_path) == [(1,), (2,)]


def test_a_damaged_file_is_not_upgraded(old_path, migrations):
    with closing(sqlite3.connect(old_path)) as connection:
        connection.executemany("INSERT INTO a VALUES (?)", [("x" * 1000,) for _ in range(20)])
        connection.commit()
    with old_path.open("r+b") as file:
        file.seek(-4096, os.SEEK_END)
        file.write(b"\xff" * 4096)
    before = old_path.read_bytes()
    (migrations / "0002_b.sql").write_text("CREATE TABLE b (x);")
    assert "damaged" in refusal(old_path, migrations_dir=migrations)
    assert old_path.read_bytes() == before
    assert backups(old_path) == []


def test_a_backup_replaces_that_of_an_upgrade_that_failed(old_path, migrations):
    (migrations / "0002_b.sql").write_text("INSERT INTO nowhere VALUES (1);")
    refusal(old_path, migrations_dir=migrations)
    with closing(sqlite3.connect(old_path)) as connection, connection:
        connection.execute("INSERT INTO a VALUES (7)")
    (migrations / "0002_b.sql").write_text("DELETE FROM a;")
    open_database(old_path, migrations).close()
    assert rows(old_path.with_name("some.db.bak-1")) == [(1,), (7,)]
    assert backups(old_path) == ["some.db.bak-1"]


def test_an_upgrade_that_is_killed_half_way_leaves_what_was_there(old_path, migrations):
    (migrations / "0002_b.sql").write_text("INSERT INTO a VALUES (2); INSERT INTO a SELECT die();")
    assert run_until_killed(UPGRADE_AND_DIE, old_path, migrations)
    (migrations / "0002_b.sql").unlink()
    with closing(open_database(old_path, migrations)) as database, database.read() as connection:
        assert connection.execute("SELECT * FROM a").fetchall() == [(1,)]
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)


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


OPEN_AT_ONCE = """
import sys
from pathlib import Path
from server_proc.database import open_database
for directory in sys.argv[1:]:
    print("about to", flush=True)
    sys.stdin.readline()
    open_database(Path(directory, "some.db")).close()
"""


def test_processes_that_create_the_same_database_at_once_all_find_it(tmp_path):
    directories = [str(tmp_path / str(n)) for n in range(20)]
    command = [sys.executable, "-c", OPEN_AT_ONCE, *directories]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    openers = [subprocess.Popen(command, text=True, **pipes) for _ in range(2)]
    for _ in directories:
        for opener in openers:
            opener.stdout.readline()
        for opener in openers:
            with suppress(BrokenPipeError):
                opener.stdin.write("go\n")
                opener.stdin.flush()
    for opener in openers:
        _, complaints = opener.communicate(timeout=30)
        assert complaints == ""


def test_a_disk_too_full_for_the_file_or_the_backup_is_told_apart(old_path, migrations, tmp_path, monkeypatch):
    def refuse(*_arguments, **_options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    (migrations / "0002_b.sql").write_text("INSERT INTO a VALUES (2);")
    with monkeypatch.context() as full:
        full.setattr(Path, "rename", refuse)
        with pytest.raises(DatabaseFullError, match="back up"):
            open_database(old_path, migrations)
    with monkeypatch.context() as full:
        full.setattr(Path, "mkdir", refuse)
        with pytest.raises(DatabaseFullError, match="cannot open"):
            open_database(tmp_path / "new" / "some.db")
    open_database(old_path, migrations).close()
    assert rows(old_path) == [(1,), (2,)]
