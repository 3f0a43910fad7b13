"""What every message log promises, held against both: the one in memory and the outbox in the database.

The outbox comes three ways: read from its tail in memory, from its table, and from both.
"""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ipc.errors import PayloadError
from ipc.limits import Limits
from ipc.message_log import MemoryLog
from ipc.sequence import Lapped
from server_proc.database import open_database
from server_proc.outbox import OutboxLog

TS = 1_769_846_400.1234  # logs keep a tenth of a millisecond


def memory_log(_database):
    return MemoryLog(clock=lambda: TS)


def outbox_in_memory(database):
    return OutboxLog(database, clock=lambda: TS)


def outbox_on_disk(database):
    return OutboxLog(database, clock=lambda: TS, tail_messages=0, tail_bytes=0)


def outbox_with_short_tail(database):
    return OutboxLog(database, clock=lambda: TS, tail_messages=3)


LOGS = [memory_log, outbox_in_memory, outbox_on_disk, outbox_with_short_tail]


@pytest.fixture(params=LOGS, ids=lambda make: make.__name__)
def log(request, database):
    return request.param(database)


def read_all(log, after=0, max_bytes=1 << 20):
    """Follow the log from a cursor to its end, as a connection does; return what came as (seq, payload)."""
    messages = []
    while True:
        encoded, last = log.read(after, max_bytes)
        if not encoded:
            assert last == after
            return messages
        batch = [json.loads(line) for line in encoded.split(b"\n")]
        assert batch[-1]["seq"] == last
        messages += [(message["seq"], message["payload"]) for message in batch]
        after = last


def test_an_empty_log_has_no_newest_and_nothing_to_read(log):
    assert (log.oldest, log.newest) == (1, 0)
    assert log.read(0, 1000) == (b"", 0)
    assert log.epoch


def test_seqs_count_from_one_without_holes(log):
    assert [log.append({"n": n}) for n in range(5)] == [1, 2, 3, 4, 5]
    assert (log.oldest, log.newest) == (1, 5)


def test_a_message_is_encoded_with_its_seq_and_time(log):
    log.append({"type": "x", "text": "é\n\u2028", "n": [1, None, 2.5, 2**60]})
    encoded, last = log.read(0, 1000)
    assert last == 1
    assert b"\n" not in encoded
    assert json.loads(encoded) == {
        "op": "message",
        "seq": 1,
        "ts": TS,
        "payload": {"type": "x", "text": "é\n\u2028", "n": [1, None, 2.5, 2**60]},
    }


@pytest.mark.parametrize("after", range(8))
def test_reading_begins_after_any_cursor(log, after):
    for n in range(1, 8):
        log.append({"n": n})
    assert read_all(log, after) == [(n, {"n": n}) for n in range(after + 1, 8)]


@pytest.mark.parametrize("after", [7, 8, 1000])
def test_a_cursor_at_or_past_the_end_reads_nothing_and_stays(log, after):
    for n in range(7):
        log.append({"n": n})
    assert log.read(after, 1000) == (b"", after)


def test_a_message_that_is_larger_than_a_batch_is_given_alone(log):
    for size in (10, 5000, 10):
        log.append({"text": "x" * size})
    sizes = []
    after = 0
    for _ in range(3):
        encoded, after = log.read(after, 100)
        sizes.append(len(json.loads(encoded)["payload"]["text"]))
    assert sizes == [10, 5000, 10]


def test_a_batch_has_at_most_the_bytes_asked_for(log):
    for n in range(7):
        log.append({"n": n})
    one = len(log.read(0, 1)[0])
    for max_bytes in (one, 3 * one + 1, 3 * one + 2, 7 * one + 5):
        body, last = log.read(0, max_bytes)
        assert len(body) <= max_bytes
        assert last == body.count(b"\n") + 1


@pytest.mark.parametrize(
    "payload", [{"x": float("nan")}, {"x": {1: 2}}, {"x": {1, 2}}, ["no", "dict"], {"x": "x" * (1 << 20)}]
)
def test_a_payload_that_cannot_travel_is_refused_and_takes_no_seq(log, payload):
    log.append({"n": 1})
    with pytest.raises(PayloadError):
        log.append(payload)
    assert log.append({"n": 2}) == 2
    assert read_all(log) == [(1, {"n": 1}), (2, {"n": 2})]


@pytest.mark.parametrize("make", LOGS, ids=lambda make: make.__name__)
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    payloads=st.lists(st.dictionaries(st.text(max_size=5), st.text(max_size=50) | st.integers()), max_size=15),
    after=st.integers(min_value=0, max_value=20),
    max_bytes=st.integers(min_value=0, max_value=500),
)
def test_following_from_any_cursor_in_any_batches_gives_the_rest_once_in_order(
    make, payloads, after, max_bytes, tmp_path_factory
):
    database = open_database(tmp_path_factory.mktemp("log") / "log.db")
    try:
        log = make(database)
        for payload in payloads:
            log.append(payload)
        expected = list(enumerate(payloads, start=1))[after:]
        assert read_all(log, after, max_bytes) == expected
    finally:
        database.close()


def test_a_reader_that_was_overtaken_is_told(database):
    memory = MemoryLog(Limits(log_messages=3), clock=lambda: TS)
    for n in range(5):
        memory.append({"n": n})
    outbox = OutboxLog(database, clock=lambda: TS)
    for n in range(5):
        outbox.append({"n": n})
    with database.write() as transaction:
        transaction.connection.execute("DELETE FROM outbox WHERE seq <= 2")
    for log in (memory, OutboxLog(database, clock=lambda: TS)):
        assert (log.oldest, log.newest) == (3, 5)
        with pytest.raises(Lapped):
            log.read(1, 1000)
        assert [seq for seq, _ in read_all(log, 2)] == [3, 4, 5]
