"""What the outbox promises beyond a message log: it outlives its process, and reads seldom cost SQL."""

import sqlite3
import threading
from contextlib import closing

import msgspec
import pytest

from ipc import PayloadError
from ipc.sequence import Lapped
from server_proc.database import open_database
from server_proc.outbox import KEPT_S, OutboxLog


@pytest.fixture
def reads(database, monkeypatch):
    """Count the reads of the database."""
    counted = []
    read = database.read
    monkeypatch.setattr(database, "read", lambda: counted.append(1) or read())
    return counted


def test_epoch_and_seq_go_on_after_opening_again(database_path):
    epochs = set()
    for start in (0, 3, 6):
        database = open_database(database_path)
        log = OutboxLog(database, clock=lambda: 0.0)
        epochs.add(log.epoch)
        assert (log.oldest, log.newest) == (1, start)
        assert [log.append({"n": n}) for n in range(3)] == [start + 1, start + 2, start + 3]
        encoded, last = log.read(0, 1 << 20)
        while last < start + 3:
            more, last = log.read(last, 1 << 20)
            encoded += b"\n" + more
        assert encoded.count(b'"op":"message"') == start + 3
        database.close()
    assert len(epochs) == 1


def test_what_another_process_wrote_is_there_after_catching_up(database_path, outbox):
    """Two processes overlap in a planned restart; the old one may write to the end of its last request."""
    outbox.append({"of": "both"})
    predecessor_database = open_database(database_path)
    predecessor = OutboxLog(predecessor_database, clock=lambda: 0.0)
    outbox.append({"of": "successor"})
    assert predecessor.append({"of": "predecessor"}) == 3
    assert outbox.newest == 2
    predecessor_database.close()

    outbox.catch_up()

    assert outbox.newest == 3
    assert outbox.append({"of": "successor"}) == 4
    encoded, last = outbox.read(0, 1 << 20)
    while last < 4:
        more, last = outbox.read(last, 1 << 20)
        encoded += b"\n" + more
    assert [msgspec.json.decode(line)["seq"] for line in encoded.split(b"\n")] == [1, 2, 3, 4]


def test_catching_up_with_nobody_needs_no_write(database_path, outbox):
    outbox.append({"n": 1})
    with closing(sqlite3.connect(database_path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        outbox.catch_up()
    assert outbox.newest == 1


def test_catching_up_with_nobody_keeps_what_is_in_memory(outbox, reads):
    outbox.append({"n": 1})
    outbox.catch_up()
    reads.clear()
    assert outbox.read(0, 1 << 20)[1] == 1
    assert reads == []


def test_two_databases_have_two_epochs(tmp_path):
    epochs = set()
    for name in ("a.db", "b.db"):
        database = open_database(tmp_path / name)
        epochs.add(OutboxLog(database).epoch)
        database.close()
    assert len(epochs) == 2


def test_messages_that_come_together_are_in_one_commit_and_each_has_its_seq(database, outbox, monkeypatch):
    monkeypatch.setattr(outbox, "_max_frame_bytes", 1000)
    executed = []
    with database.write() as transaction:  # so that they all stand in line
        futures = [database.submit(outbox.append_many, {"n": n}) for n in range(10)]
        transaction.connection.set_trace_callback(executed.append)
    assert [future.result(10) for future in futures] == list(range(1, 11))
    assert executed.count("COMMIT") == 2
    [good, bad, *_] = [database.submit(outbox.append_many, {"text": "x" * size}) for size in (1, 1000)]
    assert good.result(10) == outbox.newest == 11
    with pytest.raises(PayloadError):
        bad.result(10)


def test_a_seq_is_never_given_out_twice_even_when_every_row_is_gone(database):
    log = OutboxLog(database)
    log.append({})
    log.append({})
    with database.write() as transaction:
        transaction.connection.execute("DELETE FROM outbox")
    again = OutboxLog(database)
    assert (again.oldest, again.newest) == (3, 2)
    assert again.append({}) == 3


def test_bytes_from_the_table_equal_bytes_from_memory(database):
    clock = iter([1_769_846_400.1234567, 0.1, 1e9])
    log = OutboxLog(database, clock=lambda: next(clock))
    for text in ("é", "\u0000\u2028", "😀"):
        log.append({"text": text, "n": 1.10})
    assert log.read(0, 1 << 20) == OutboxLog(database).read(0, 1 << 20)


def test_who_keeps_up_costs_no_sql(outbox, reads):
    for n in range(100):
        outbox.append({"n": n})
        assert outbox.read(n, 1 << 20)[1] == n + 1
        assert outbox.read(n + 1, 1 << 20) == (b"", n + 1)
    assert reads == []


@pytest.mark.parametrize("bounds", [{"tail_messages": 10}, {"tail_bytes": 10 * 60}])
def test_the_tail_is_bounded_by_count_and_by_bytes_and_older_ones_come_from_the_table(database, reads, bounds):
    log = OutboxLog(database, clock=lambda: 0.0, **bounds)
    reads.clear()
    for n in range(100):
        log.append({"n": n})
    assert log.read(90, 1 << 20)[1] == 100
    assert reads == []
    assert log.read(89, 1 << 20)[1] == 100
    assert len(reads) == 1


def test_a_message_of_a_transaction_that_fails_was_never_there(database, outbox):
    def fail_after_adding():
        with database.write() as transaction:
            assert outbox.add(transaction, {"n": 1}) == 1
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_after_adding()
    assert (outbox.newest, outbox.read(0, 1000)) == (0, (b"", 0))
    assert outbox.append({"n": 2}) == 1


def test_several_messages_of_one_transaction_appear_together_in_order(database, outbox):
    with database.write() as transaction:
        assert [outbox.add(transaction, {"n": n}) for n in range(3)] == [1, 2, 3]
        assert outbox.newest == 0
        assert outbox.read(0, 1000) == (b"", 0)
    assert outbox.newest == 3


def test_rows_that_vanish_during_a_read_lap_the_reader(database):
    log = OutboxLog(database, tail_messages=0)
    log.append({})
    with database.write() as transaction:
        transaction.connection.execute("DELETE FROM outbox")
    with pytest.raises(Lapped):
        log.read(0, 1000)


@pytest.mark.parametrize("tail_messages", [5, 10_000])
def test_many_threads_append_and_many_follow_without_a_hole(database, tail_messages):
    log = OutboxLog(database, tail_messages=tail_messages)
    writers, each = 8, 25
    total = writers * each
    followed = []
    grown = threading.Condition()

    def write():
        for _ in range(each):
            log.append({})
            with grown:
                grown.notify_all()

    def follow():
        after, seqs = 0, []
        while after < total:
            with grown:
                assert grown.wait_for(lambda after=after: log.newest > after, 30)
            encoded, last = log.read(after, 300)
            seqs += range(after + 1, last + 1)
            assert encoded.count(b'"op":"message"') == last - after
            after = last
        followed.append(seqs)

    threads = [threading.Thread(target=write) for _ in range(writers)]
    threads += [threading.Thread(target=follow) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert followed == [list(range(1, total + 1))] * 3


# -- what is kept --------------------------------------------------------------------------------------------------


def append_many(outbox, count):
    for n in range(count):
        outbox.append({"n": n})


def drop_all(outbox):
    dropped = []
    while count := outbox.drop_old():
        dropped.append(count)
    return dropped


def test_what_is_neither_too_much_nor_too_old_stays(outbox):
    append_many(outbox, 10)
    assert outbox.drop_old() == 0
    assert (outbox.oldest, outbox.newest) == (1, 10)


def test_more_than_is_kept_goes_oldest_first_in_slices(outbox, monkeypatch):
    monkeypatch.setattr("server_proc.outbox.KEPT_MESSAGES", 10)
    monkeypatch.setattr("server_proc.outbox.DROPPED_AT_ONCE", 8)
    append_many(outbox, 30)
    assert drop_all(outbox) == [8, 8, 4]
    assert (outbox.oldest, outbox.newest) == (21, 30)
    assert outbox.read(20, 1 << 20)[1] == 30
    with pytest.raises(Lapped):
        outbox.read(19, 1 << 20)


def test_what_is_too_old_goes_however_few_there_are(outbox, clock):
    append_many(outbox, 3)
    clock.now_s += KEPT_S + 1
    append_many(outbox, 2)
    assert drop_all(outbox) == [3]
    assert (outbox.oldest, outbox.newest) == (4, 5)
    clock.now_s += KEPT_S + 1
    assert drop_all(outbox) == [2]
    assert (outbox.oldest, outbox.newest) == (6, 5)
    assert outbox.append({}) == 6


def test_what_was_dropped_is_gone_for_the_next_server_too(outbox, database, monkeypatch):
    monkeypatch.setattr("server_proc.outbox.KEPT_MESSAGES", 2)
    append_many(outbox, 5)
    drop_all(outbox)
    assert (OutboxLog(database).oldest, OutboxLog(database).newest) == (4, 5)


def test_a_drop_that_fails_leaves_everything_to_be_read(outbox, database, monkeypatch):
    monkeypatch.setattr("server_proc.outbox.KEPT_MESSAGES", 2)
    append_many(outbox, 5)
    with database.write() as transaction:
        transaction.connection.execute("CREATE TRIGGER no BEFORE DELETE ON outbox BEGIN SELECT raise(ABORT, 'no'); END")
    with pytest.raises(sqlite3.IntegrityError):
        outbox.drop_old()
    assert outbox.oldest == 1
    assert outbox.read(0, 1 << 20)[1] == 5


def test_rows_that_go_from_before_a_reader_during_its_read_are_no_hole(database):
    """It is told that it was lapped; what it must never get is later rows under earlier numbers."""
    log = OutboxLog(database, tail_messages=0)
    append_many(log, 5)
    with database.write() as transaction:
        transaction.connection.execute("DELETE FROM outbox WHERE seq <= 3")
    with pytest.raises(Lapped):
        log.read(1, 1 << 20)
    assert log.read(3, 1 << 20)[1] == 5
