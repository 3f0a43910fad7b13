"""What many ask for at once is written with one commit; each is told what became of its own, and only of that."""

import sqlite3
import threading
import weakref
from concurrent.futures import CancelledError, wait
from contextlib import closing, contextmanager

import pytest
from structlog.testing import capture_logs

from server_proc import batch_writer
from server_proc import database as database_module
from server_proc.batch_writer import MAX_BATCH, BatchWriter
from server_proc.database import open_database
from server_proc.database_errors import DatabaseBusyError, DatabaseFullError, DatabaseUnusableError

DEADLINE_S = 30


@pytest.fixture
def database(tmp_path):
    database = open_database(tmp_path / "some.db")
    with database.write() as transaction:
        transaction.connection.execute("CREATE TABLE t (x UNIQUE)")
    yield database
    database.close()


@pytest.fixture
def commits(database):
    """The COMMITs that the database has executed."""
    executed = []
    connection = database._writer._connection
    connection.set_trace_callback(lambda statement: executed.append(statement) if statement == "COMMIT" else None)
    return executed


def insert(transaction, values):
    for value in values:
        transaction.connection.execute("INSERT INTO t VALUES (?)", (value,))
    return [f"{value} of {len(values)}" for value in values]


def stored(database):
    with database.read() as connection:
        return [value for (value,) in connection.execute("SELECT x FROM t ORDER BY rowid")]


def submit_together(database, *submissions):
    """Submit works while the first is being written, so that the others are the next batch; return their futures."""
    may_go_on, has_begun = threading.Event(), threading.Event()

    def hold_up(_transaction, items):
        has_begun.set()
        assert may_go_on.wait(DEADLINE_S)
        return items

    held = database.submit(hold_up, None)
    assert has_begun.wait(DEADLINE_S)
    futures = [database.submit(*submission) for submission in submissions]
    may_go_on.set()
    held.result(DEADLINE_S)
    return futures


def outcomes(futures):
    assert not wait(futures, DEADLINE_S).not_done
    return [future.exception() or future.result() for future in futures]


def test_64_at_once_share_one_commit_and_one_call(database, commits):
    futures = submit_together(database, *((insert, n) for n in range(64)))

    assert outcomes(futures) == [f"{n} of 64" for n in range(64)]
    assert len(commits) == 2  # one is of the work that held them up
    assert stored(database) == list(range(64))


def test_a_batch_is_bounded(database, commits):
    outcomes(submit_together(database, *((insert, n) for n in range(MAX_BATCH + 1))))

    assert len(commits) == 3


def test_a_batch_is_bounded_by_what_is_in_its_items_too(database, commits):
    futures = submit_together(database, *((insert, n, MAX_BATCH // 2) for n in range(5)))

    assert outcomes(futures) == ["0 of 2", "1 of 2", "2 of 2", "3 of 2", "4 of 1"]
    assert len(commits) == 4


def test_different_works_are_called_in_the_order_of_the_line(database):
    def other(transaction, values):
        return insert(transaction, [f"other {value}" for value in values])

    futures = submit_together(database, (insert, 1), (insert, 2), (other, 3), (insert, 4))

    assert outcomes(futures) == ["1 of 2", "2 of 2", "other 3 of 1", "4 of 1"]
    assert stored(database) == [1, 2, "other 3", 4]


def test_who_is_told_finds_it_stored(database):
    seen = []
    future = database.submit(insert, 1)
    future.add_done_callback(lambda _future: seen.append(stored(database)))
    future.result(DEADLINE_S)
    database.submit(insert, 2).result(DEADLINE_S)

    assert seen == [[1]]


def test_what_became_of_it_is_noted_before_anybody_is_told(database):
    noting, may_go_on, noted = threading.Event(), threading.Event(), []

    def note(outcome):
        noting.set()
        assert may_go_on.wait(DEADLINE_S)
        noted.append((outcome, stored(database)))

    future = database.submit(insert, 1, 1, note)
    assert noting.wait(DEADLINE_S)
    assert not future.done()
    may_go_on.set()
    assert future.result(DEADLINE_S) == "1 of 1"
    assert noted == [("1 of 1", [1])]


def test_a_note_that_fails_is_logged_and_changes_nothing(database):
    noted = []

    def fail(outcome):
        noted.append(outcome)
        raise ZeroDivisionError

    with capture_logs() as logs:
        (stored_one, refused) = outcomes(submit_together(database, (insert, 1, 1, fail), (insert, 1, 1, fail)))

    assert (stored_one, type(refused)) == ("1 of 1", sqlite3.IntegrityError)
    assert noted == [stored_one, refused]
    assert [line["event"] for line in logs] == ["outcome_not_noted"] * 2
    assert stored(database) == [1]


def test_an_exception_among_the_results_is_its_items_own(database):
    def refuse_odd(transaction, values):
        return [ValueError(value) if value % 2 else insert(transaction, [value])[0] for value in values]

    found = outcomes(submit_together(database, *((refuse_odd, n) for n in range(4))))

    assert [type(each) for each in found] == [str, ValueError, str, ValueError]
    assert stored(database) == [0, 2]


def test_where_work_raises_each_is_for_itself(database):
    def fail_at_two(transaction, values):
        results = insert(transaction, values)
        if 2 in values:
            raise ZeroDivisionError
        return results

    found = outcomes(submit_together(database, (insert, 0), *((fail_at_two, n) for n in (1, 2, 3))))

    assert found[:2] == ["0 of 1", "1 of 1"]
    assert isinstance(found[2], ZeroDivisionError)
    assert found[3] == "3 of 1"
    assert stored(database) == [0, 1, 3]


def test_a_constraint_is_the_trouble_of_the_one_who_breaks_it(database):
    found = outcomes(submit_together(database, (insert, 1), (insert, 1), (insert, 2)))

    assert (found[0], found[2]) == ("1 of 1", "2 of 1")
    assert isinstance(found[1], sqlite3.IntegrityError)
    assert stored(database) == [1, 2]


def test_damage_that_one_meets_is_not_told_to_the_others(database):
    def meet_damage(transaction, values):
        if 1 in values:
            raise DatabaseUnusableError("malformed")
        return insert(transaction, values)

    found = outcomes(submit_together(database, *((meet_damage, n) for n in range(3))))

    assert (found[0], found[2]) == ("0 of 1", "2 of 1")
    assert isinstance(found[1], DatabaseUnusableError)


def test_a_full_disk_is_told_to_all_in_an_exception_of_its_own_and_the_next_batch_works(database):
    connection = database._writer._connection
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}")
    found = outcomes(submit_together(database, *((insert, f"{n}" + "x" * 5000) for n in range(4))))

    assert {type(each) for each in found} == {DatabaseFullError}
    assert len(set(map(id, found))) == 4
    assert database.alarm.is_raised
    connection.execute("PRAGMA max_page_count = 1000000")
    database.submit(insert, "later").result(DEADLINE_S)
    assert stored(database) == ["later"]
    assert not database.alarm.is_raised


def test_a_locked_database_is_told_to_all_in_line_however_many(database):
    begun, all_are_in_line = [], threading.Event()

    def trace(sql):
        if "BEGIN" in sql:
            begun.append(sql)
            all_are_in_line.wait(DEADLINE_S)

    connection = database._writer._connection
    connection.execute("PRAGMA busy_timeout = 1")
    connection.set_trace_callback(trace)
    with closing(sqlite3.connect(database.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        futures = [database.submit(insert, n) for n in range(MAX_BATCH + 10)]
        all_are_in_line.set()
        found = outcomes(futures)
    assert len(begun) == 1
    assert {type(each) for each in found} == {DatabaseBusyError}
    assert outcomes([database.submit(insert, 5)]) == ["5 of 1"]


def test_what_has_not_begun_can_be_withdrawn(database):
    with database.write() as transaction:  # the thread waits for its turn
        insert(transaction, ["first"])
        futures = [database.submit(insert, n) for n in range(3)]
        assert futures[1].cancel()

    assert not wait([futures[0], futures[2]], DEADLINE_S).not_done
    with pytest.raises(CancelledError):
        futures[1].result()
    assert stored(database) == ["first", 0, 2]


def test_what_has_begun_cannot_be_withdrawn(database):
    has_begun, may_go_on = threading.Event(), threading.Event()

    def slow(transaction, values):
        has_begun.set()
        assert may_go_on.wait(DEADLINE_S)
        return insert(transaction, values)

    future = database.submit(slow, 1)
    assert has_begun.wait(DEADLINE_S)
    assert not future.cancel()
    may_go_on.set()
    assert future.result(DEADLINE_S) == "1 of 1"


def test_closing_writes_what_is_in_line_ends_the_thread_and_refuses_the_rest(database, monkeypatch):
    monkeypatch.setattr(database_module, "CLOSE_PATIENCE_S", DEADLINE_S)
    futures = submit_together(database, *((insert, n) for n in range(10)))
    database.close()

    assert not database._batches._thread.is_alive()
    assert outcomes(futures) == [f"{n} of 10" for n in range(10)]
    (refused,) = outcomes([database.submit(insert, 11)])
    assert (type(refused), str(refused)) == (DatabaseBusyError, "the database has been closed")


def test_a_database_that_is_not_written_to_has_no_thread(database):
    assert database._batches._thread is None
    database.submit(insert, 1).result(DEADLINE_S)
    assert database._batches._thread in threading.enumerate()
    assert database._batches._thread.name == "batch-writer"


def test_each_error_for_somebody_else_keeps_its_cause():
    first = DatabaseFullError("full")
    second = batch_writer._another(first)

    assert second is not first
    assert (str(second), second.__cause__) == ("full", first)


# -- with a transaction of the test's own ----------------------------------------------------------------------------


class Item:
    """Something that can be referred to weakly."""


class Gate:
    """A transaction that cannot begin before the gate is open; what it raises comes after the block."""

    def __init__(self):
        self.is_open = threading.Event()
        self.has_come = threading.Event()
        self.error_at_end = None

    @contextmanager
    def transaction(self):
        self.has_come.set()
        assert self.is_open.wait(DEADLINE_S)
        yield None
        if self.error_at_end is not None:
            raise self.error_at_end


@pytest.fixture
def gate():
    return Gate()


@pytest.fixture
def writer(gate):
    writer = BatchWriter(gate.transaction)
    yield writer
    gate.is_open.set()
    writer.close(DEADLINE_S)


def test_what_fails_after_the_work_is_not_done_again(gate, writer):
    done = []

    def work(_transaction, items):
        done.extend(items)
        return items

    gate.error_at_end = ZeroDivisionError("after the commit")
    futures = [writer.submit(work, item) for item in range(3)]
    gate.is_open.set()
    for future in futures:
        with pytest.raises(ZeroDivisionError):
            future.result(DEADLINE_S)
    assert done == [0, 1, 2]


def test_what_was_given_up_is_forgotten_while_the_writer_hangs(gate, writer):
    hanging = threading.Event()
    begun = threading.Event()

    def hang(_transaction, items):
        begun.set()
        assert hanging.wait(DEADLINE_S)
        return items

    gate.is_open.set()
    first = writer.submit(hang, None)
    assert begun.wait(DEADLINE_S)
    item = Item()
    given_up, forgotten = writer.submit(hang, item), weakref.ref(item)
    assert given_up.cancel()
    del item, given_up
    last = writer.submit(hang, None)
    assert forgotten() is None
    hanging.set()
    assert (first.result(DEADLINE_S), last.result(DEADLINE_S)) == (None, None)
