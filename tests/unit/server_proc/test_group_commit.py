"""Writers share commits: each gets its own result, in order, and a bad write undoes nothing but itself."""

import sqlite3
import threading
from contextlib import closing, suppress

import pytest

from server_proc.database_errors import DatabaseBusyError, DatabaseFullError
from server_proc.group_commit import MAX_GROUP, GroupCommit
from server_proc.schema import BUSY_TIMEOUT_S

WRITERS = 64
DEADLINE_S = 30


class Crowd:
    """Writers in threads that all stand in line before the first of them ends its turn."""

    def __init__(self, group_commit):
        self._group_commit = group_commit
        self.outcomes = {}
        self.callbacks = []
        self._threads = []
        self._connection = None

    def run(self, *writes):
        """Let each of `writes(connection)` be one writer's block; return when all of them have come back."""
        with self._group_commit.write() as transaction:
            transaction.connection.execute("INSERT INTO t VALUES ('first')")
            for number, write in enumerate(writes):
                thread = threading.Thread(target=self._write, args=(number, write))
                thread.start()
                self._threads.append(thread)
            wait_until(lambda: self._group_commit._in_line == len(writes))
        for thread in self._threads:
            thread.join(DEADLINE_S)
            assert not thread.is_alive()

    def _write(self, number, write):
        try:
            with self._group_commit.write() as transaction:
                write(transaction.connection)
                transaction.after_commit(lambda: self.callbacks.append(number))
            self.outcomes[number] = "stored"
        except Exception as error:  # noqa: BLE001  it is what the test is about
            self.outcomes[number] = error


def wait_until(is_true):
    """Yield the processor until it is so; what is waited for sets no event of its own."""
    timer = threading.Event()
    for _ in range(10_000):
        if is_true():
            return
        timer.wait(0.001)
    raise AssertionError("it never came true")


def insert(value):
    return lambda connection: connection.execute("INSERT INTO t VALUES (?)", (value,))


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
def commits(connection):
    """The COMMITs that the connection has executed."""
    executed = []
    connection.set_trace_callback(lambda statement: executed.append(statement) if statement == "COMMIT" else None)
    return executed


@pytest.fixture
def group_commit(connection):
    return GroupCommit(connection)


@pytest.fixture
def crowd(group_commit):
    return Crowd(group_commit)


def stored(path):
    with closing(sqlite3.connect(path)) as reader:
        return [value for (value,) in reader.execute("SELECT x FROM t ORDER BY rowid")]


def test_64_writers_at_once_share_one_commit(crowd, commits, path):
    crowd.run(*[insert(str(n)) for n in range(WRITERS)])
    assert len(commits) == 1
    assert set(crowd.outcomes.values()) == {"stored"}
    assert sorted(stored(path)) == sorted(["first", *map(str, range(WRITERS))])


def test_a_group_is_bounded(crowd, commits):
    crowd.run(*[insert(str(n)) for n in range(MAX_GROUP + 10)])
    assert len(commits) == 2
    assert set(crowd.outcomes.values()) == {"stored"}


def test_who_is_alone_commits_at_once(group_commit, commits, path):
    for n in range(3):
        with group_commit.write() as transaction:
            insert(n)(transaction.connection)
        assert len(commits) == n + 1
    assert stored(path) == [0, 1, 2]


def test_callbacks_run_in_the_order_of_the_writes(crowd, path):
    crowd.run(*[insert(n) for n in range(WRITERS)])
    assert crowd.callbacks == stored(path)[1:]


def test_nobody_comes_back_before_the_commit(group_commit, path):
    seen = []

    def write():
        with group_commit.write() as transaction:
            insert("second")(transaction.connection)
        seen.append(stored(path))

    with group_commit.write() as transaction:
        insert("first")(transaction.connection)
        thread = threading.Thread(target=write)
        thread.start()
        wait_until(lambda: group_commit._in_line == 1)
        assert stored(path) == []
    assert stored(path) == ["first", "second"]
    thread.join(DEADLINE_S)
    assert seen == [["first", "second"]]


def test_bad_writes_undo_nothing_but_themselves(crowd, commits, path):
    def fail(connection):
        insert("gone")(connection)
        raise ZeroDivisionError

    def repeat(connection):
        insert("gone too")(connection)
        insert("first")(connection)

    crowd.run(insert("a"), fail, insert("b"), repeat, insert("c"), fail)
    assert len(commits) == 1
    assert sorted(stored(path)) == ["a", "b", "c", "first"]
    assert [type(crowd.outcomes[n]) for n in (1, 3, 5)] == [
        ZeroDivisionError,
        sqlite3.IntegrityError,
        ZeroDivisionError,
    ]
    assert [crowd.outcomes[n] for n in (0, 2, 4)] == ["stored"] * 3
    assert sorted(crowd.callbacks) == [0, 2, 4]


def test_a_bad_write_that_is_last_in_line_still_commits_for_the_others(crowd, path):
    def fail(_connection):
        raise ZeroDivisionError

    crowd.run(fail)
    assert stored(path) == ["first"]
    assert isinstance(crowd.outcomes[0], ZeroDivisionError)


def test_a_bad_write_that_is_first_leaves_a_clean_start_to_the_next(group_commit, path):
    def fail_with_somebody_waiting():
        with group_commit.write() as transaction:
            insert("gone")(transaction.connection)
            thread.start()
            wait_until(lambda: group_commit._in_line == 1)
            raise ZeroDivisionError

    def write():
        with group_commit.write() as transaction:
            insert("kept")(transaction.connection)

    thread = threading.Thread(target=write)
    with pytest.raises(ZeroDivisionError):
        fail_with_somebody_waiting()
    thread.join(DEADLINE_S)
    assert stored(path) == ["kept"]


def test_a_commit_that_fails_fails_for_each_of_its_writers_and_the_next_one_works(
    crowd, connection, group_commit, path
):
    connection.execute("CREATE TABLE parent (x PRIMARY KEY)")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("CREATE TABLE child (x REFERENCES parent (x) DEFERRABLE INITIALLY DEFERRED)")

    with pytest.raises(sqlite3.IntegrityError):
        crowd.run(insert("a"), lambda connection: connection.execute("INSERT INTO child VALUES (1)"), insert("b"))
    for thread in crowd._threads:
        thread.join(DEADLINE_S)
    assert [type(outcome) for outcome in crowd.outcomes.values()] == [sqlite3.IntegrityError] * 3
    assert len({id(outcome) for outcome in crowd.outcomes.values()}) == 3
    assert crowd.callbacks == []
    with group_commit.write() as transaction:
        insert("later")(transaction.connection)
    assert stored(path) == ["later"]


def test_what_sqlite_undoes_as_a_whole_fails_for_everybody_who_took_part(crowd, connection, group_commit, path):
    """As a full disk does; here a trigger stands in for it."""
    connection.execute(
        "CREATE TRIGGER full BEFORE INSERT ON t WHEN new.x = 'full' BEGIN SELECT raise(ROLLBACK, 'full'); END"
    )

    with pytest.raises(sqlite3.IntegrityError, match="full"):
        crowd.run(insert("full"))
    for thread in crowd._threads:
        thread.join(DEADLINE_S)
    assert isinstance(crowd.outcomes[0], sqlite3.IntegrityError)
    with group_commit.write() as transaction:
        insert("later")(transaction.connection)
    assert stored(path) == ["later"]


def test_a_block_that_goes_on_after_sqlite_has_undone_it_is_refused(group_commit, connection):
    connection.execute("CREATE TRIGGER full BEFORE INSERT ON t BEGIN SELECT raise(ROLLBACK, 'full'); END")

    def go_on_regardless():
        with group_commit.write() as transaction, pytest.raises(sqlite3.IntegrityError):
            insert("a")(transaction.connection)

    with pytest.raises(DatabaseBusyError, match="undone"):
        go_on_regardless()


def test_a_full_disk_is_told_to_all_who_shared_the_commit(crowd, connection, group_commit, path):
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(DatabaseFullError):
        crowd.run(*[insert(f"{n}" + "x" * 2000) for n in range(4)])
    for thread in crowd._threads:
        thread.join(DEADLINE_S)
    assert all(isinstance(outcome, DatabaseFullError) for outcome in crowd.outcomes.values())
    connection.execute("PRAGMA max_page_count = 1000000")
    with group_commit.write() as transaction:
        insert("later")(transaction.connection)
    assert "later" in stored(path)


def test_who_waits_for_a_while_only_is_refused_and_holds_up_nobody(group_commit, path):
    with group_commit.write() as transaction:
        insert("a")(transaction.connection)
        outcome = []

        def try_for_a_moment():
            try:
                with group_commit.write(0.01):
                    pass
            except DatabaseBusyError as error:
                outcome.append(str(error))

        thread = threading.Thread(target=try_for_a_moment)
        thread.start()
        thread.join(DEADLINE_S)
        assert outcome == ["another write has been under way for 0.01 s"]
    assert stored(path) == ["a"]


def test_closing_commits_what_was_left_to_a_writer_who_comes_too_late(group_commit, path):
    with group_commit.write() as transaction:
        insert("a")(transaction.connection)
        group_commit._in_line += 1  # somebody is about to take the turn
        leaver = threading.Thread(target=group_commit.close, args=(DEADLINE_S,))
        leaver.start()
        wait_until(lambda: group_commit._is_closed)
    leaver.join(DEADLINE_S)
    assert stored(path) == ["a"]
    with pytest.raises(DatabaseBusyError, match="closed"), group_commit.write():
        pass


def test_who_stood_in_line_before_a_locked_database_does_not_wait_for_it_again(group_commit, connection, path):
    connection.execute("PRAGMA busy_timeout = 1")
    begun, refused = [], []
    connection.set_trace_callback(lambda statement: begun.append(statement) if "BEGIN" in statement else None)

    def write():
        try:
            with group_commit.write(DEADLINE_S) as transaction:
                insert("never")(transaction.connection)
        except DatabaseBusyError as error:
            refused.append(str(error))

    writers = [threading.Thread(target=write) for _ in range(8)]
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with group_commit._turn:
            for writer in writers:
                writer.start()
            wait_until(lambda: group_commit._in_line == len(writers))
        for writer in writers:
            writer.join(DEADLINE_S)
        assert len(refused) == len(writers)
        assert len(begun) == 1
    with group_commit.write() as transaction:
        insert("later")(transaction.connection)
    assert stored(path) == ["later"]


def test_a_commit_that_was_left_to_somebody_who_gives_up_is_made(group_commit, path):
    for n in range(20):
        writers = [threading.Thread(target=write_impatiently, args=(group_commit, f"{n}.{m}")) for m in range(8)]
        with group_commit.write() as transaction:
            insert(n)(transaction.connection)
            for writer in writers:
                writer.start()
            wait_until(lambda: group_commit._in_line)
        for writer in writers:
            writer.join(DEADLINE_S)
            assert not writer.is_alive()
    assert {n for n in stored(path) if isinstance(n, int)} == set(range(20))


def write_impatiently(group_commit, value):
    with suppress(DatabaseBusyError), group_commit.write(0.0005) as transaction:
        insert(value)(transaction.connection)


def test_who_has_little_patience_does_not_wait_for_another_process_either(group_commit, path):
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(DatabaseBusyError, match="locked"), group_commit.write(0.01):
            pass
        (timeout_ms,) = group_commit._connection.execute("PRAGMA busy_timeout").fetchone()
        assert timeout_ms == BUSY_TIMEOUT_S * 1000
