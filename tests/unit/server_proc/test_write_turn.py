"""Writers take turns: each writes a transaction of its own, in order, and nobody waits for long."""

import sqlite3
import threading
from contextlib import closing, suppress

import pytest

from server_proc.database_errors import DatabaseBusyError, DatabaseFullError
from server_proc.schema import BUSY_TIMEOUT_S
from server_proc.write_turn import WriteTurn

WRITERS = 64
DEADLINE_S = 30


@pytest.fixture
def path(tmp_path):
    return tmp_path / "some.db"


@pytest.fixture
def connection(path):
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL").fetchone()
    connection.execute("CREATE TABLE t (x UNIQUE)")
    yield connection
    connection.close()


@pytest.fixture
def writer(connection):
    return WriteTurn(connection)


def insert(writer, *values, then=None):
    """Write values in one transaction; `then` is called after the commit."""
    with writer.write() as transaction:
        if then is not None:
            transaction.after_commit(then)
        for value in values:
            transaction.connection.execute("INSERT INTO t VALUES (?)", (value,))


def fail():
    raise ZeroDivisionError


def stored(path):
    with closing(sqlite3.connect(path)) as reader:
        return [value for (value,) in reader.execute("SELECT x FROM t ORDER BY rowid")]


def test_what_was_written_is_durable_when_the_block_has_been_left(writer, path):
    with writer.write() as transaction:
        transaction.connection.execute("INSERT INTO t VALUES ('a')")
        assert stored(path) == []
    assert stored(path) == ["a"]


def test_a_block_that_raises_is_undone_and_the_next_one_works(writer, path):
    def fail_half_way():
        with writer.write() as transaction:
            transaction.connection.execute("INSERT INTO t VALUES ('gone')")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_half_way()
    with pytest.raises(sqlite3.IntegrityError):
        insert(writer, "gone too", "gone too")
    insert(writer, "kept")
    assert stored(path) == ["kept"]


def test_of_many_writers_each_writes_by_itself_and_callbacks_come_in_the_order_of_the_writes(writer, path):
    heard = []
    together = threading.Barrier(WRITERS)

    def write(number):
        together.wait(DEADLINE_S)
        with writer.write(DEADLINE_S) as transaction:
            transaction.after_commit(lambda: heard.append(number))
            transaction.connection.execute("INSERT INTO t VALUES (?)", (number,))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(WRITERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)
    assert sorted(heard) == list(range(WRITERS))
    assert stored(path) == heard


def test_a_callback_runs_once_it_is_durable_and_not_at_all_if_it_is_undone(writer, path):
    seen = []
    insert(writer, "a", then=lambda: seen.append(stored(path)))
    with pytest.raises(sqlite3.IntegrityError):
        insert(writer, "b", "b", then=lambda: seen.append("never"))
    assert seen == [["a"]]


def test_a_callback_that_fails_is_told_and_undoes_nothing(writer, path):
    with pytest.raises(ZeroDivisionError):
        insert(writer, "a", then=fail)
    insert(writer, "b")
    assert stored(path) == ["a", "b"]


def test_a_commit_that_fails_is_undone_and_the_next_one_works(writer, connection, path):
    connection.execute("CREATE TABLE parent (x PRIMARY KEY)")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("CREATE TABLE child (x REFERENCES parent (x) DEFERRABLE INITIALLY DEFERRED)")
    connection.execute(
        "CREATE TRIGGER orphan AFTER INSERT ON t WHEN new.x = 'bad' BEGIN INSERT INTO child VALUES (1); END"
    )
    with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
        insert(writer, "gone", "bad", then=fail)
    insert(writer, "later")
    assert stored(path) == ["later"]


@pytest.fixture
def undone_by_sqlite(connection):
    """Have SQLite undo the whole transaction at an INSERT of 'full', as it may on a full disk."""
    connection.execute(
        "CREATE TRIGGER full BEFORE INSERT ON t WHEN new.x = 'full' BEGIN SELECT raise(ROLLBACK, 'full'); END"
    )


@pytest.mark.usefixtures("undone_by_sqlite")
def test_what_sqlite_has_undone_by_itself_is_told_and_the_next_one_works(writer, path):
    with pytest.raises(sqlite3.IntegrityError, match="full"):
        insert(writer, "gone", "full")
    insert(writer, "later")
    assert stored(path) == ["later"]


@pytest.mark.usefixtures("undone_by_sqlite")
def test_a_block_that_goes_on_after_sqlite_has_undone_it_is_refused(writer):
    with pytest.raises(DatabaseBusyError, match="undone"), writer.write() as transaction, suppress(sqlite3.Error):
        transaction.connection.execute("INSERT INTO t VALUES ('full')")


def test_a_full_disk_is_told_and_the_next_one_works_when_there_is_room(writer, connection, path):
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(DatabaseFullError):
        insert(writer, *[f"{n}" + "x" * 2000 for n in range(4)])
    connection.execute("PRAGMA max_page_count = 1000000")
    insert(writer, "later")
    assert stored(path) == ["later"]


def test_who_waits_for_a_while_only_is_refused_and_holds_up_nobody(writer, path):
    outcome = []

    def try_for_a_moment():
        try:
            with writer.write(0.01):
                pass
        except DatabaseBusyError as error:
            outcome.append(str(error))

    with writer.write() as transaction:
        transaction.connection.execute("INSERT INTO t VALUES ('a')")
        thread = threading.Thread(target=try_for_a_moment)
        thread.start()
        thread.join(DEADLINE_S)
        assert outcome == ["another write has been under way for 0.01 s"]
    assert stored(path) == ["a"]


def test_who_has_little_patience_does_not_wait_for_another_process_either(writer, connection, path):
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(DatabaseBusyError, match="locked"), writer.write(0.01):
            pass
        (timeout_ms,) = connection.execute("PRAGMA busy_timeout").fetchone()
        assert timeout_ms == BUSY_TIMEOUT_S * 1000
    insert(writer, "later")
    assert stored(path) == ["later"]


def test_alone_is_outside_any_transaction(writer, path):
    with writer.alone() as connection:
        assert not connection.in_transaction
        with pytest.raises(DatabaseBusyError, match="under way"), writer.write(0.01):
            pass
    insert(writer, "later")
    assert stored(path) == ["later"]


def test_closing_waits_for_who_has_the_turn_and_then_everything_is_refused(writer, path):
    with writer.write() as transaction:
        transaction.connection.execute("INSERT INTO t VALUES ('a')")
        writer.close(0.01)  # gives up: the connection is in use
    assert stored(path) == ["a"]
    writer.close(DEADLINE_S)
    for use in (writer.write, writer.alone):
        with pytest.raises(DatabaseBusyError, match="closed"), use():
            pass
