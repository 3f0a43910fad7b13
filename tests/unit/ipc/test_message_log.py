"""The message log: dense seqs, bounded memory, and where a client goes on."""

import json

import hypothesis.strategies as st
import pytest
from hypothesis import given

from ipc.errors import PayloadError
from ipc.limits import Limits
from ipc.message_log import MemoryLog, starting_point
from ipc.protocol import FromServer, Message, ObjectDecoder, Resume
from ipc.sequence import Lapped
from tests.unit.ipc.json_values import payloads


def read_all(log, after=0, max_bytes=1000):
    """Return the messages after `after`, and fail at a batch that is not dense."""
    messages = []
    while True:
        encoded, last = log.read(after, max_bytes)
        if last == after:
            assert encoded == b""
            return messages
        batch = ObjectDecoder(FromServer).decode(encoded)
        assert [message.seq for message in batch] == list(range(after + 1, last + 1))
        messages += batch
        after = last


@given(said=st.lists(payloads, max_size=10), max_bytes=st.integers(1, 500))
def test_what_was_appended_is_read_in_order_under_dense_seqs(said, max_bytes):
    log = MemoryLog(clock=lambda: 1.5)
    assert [log.append(payload) for payload in said] == list(range(1, len(said) + 1))
    expected = [Message(seq, 1.5, payload) for seq, payload in enumerate(said, 1)]
    assert read_all(log, max_bytes=max_bytes) == expected
    assert (log.oldest, log.newest) == (1, len(said))


@given(sizes=st.lists(st.integers(0, 300), min_size=1), messages=st.integers(1, 10), total=st.integers(1, 1500))
def test_old_messages_make_room_within_both_limits(sizes, messages, total):
    log = MemoryLog(Limits(log_messages=messages, log_bytes=total))
    for size in sizes:
        log.append({"text": "x" * size})
        kept = log.newest - log.oldest + 1
        assert 1 <= kept <= messages
        assert log.total_bytes <= total or kept == 1
    kept = read_all(log, log.oldest - 1)
    assert [message.payload["text"] for message in kept] == ["x" * size for size in sizes[-len(kept) :]]
    if log.oldest > 1:
        with pytest.raises(Lapped):
            log.read(log.oldest - 2, 100)


def test_a_message_larger_than_the_whole_log_is_kept_alone():
    log = MemoryLog(Limits(log_bytes=10))
    log.append({"text": "x" * 50})
    log.append({"text": "y" * 50})
    assert (log.oldest, log.newest) == (2, 2)


def test_a_refused_payload_leaves_no_trace():
    log = MemoryLog(Limits(max_frame_bytes=1000))
    log.append({"a": 1})
    for payload in ({"a": float("nan")}, {"a": "x" * 1000}, "text"):
        with pytest.raises(PayloadError):
            log.append(payload)
    assert log.append({"a": 2}) == 2
    assert [message.payload for message in read_all(log)] == [{"a": 1}, {"a": 2}]


def test_a_later_change_of_the_payload_does_not_reach_the_log():
    log = MemoryLog()
    payload = {"a": 1}
    log.append(payload)
    payload["a"] = 2
    assert read_all(log)[0].payload == {"a": 1}


def test_an_empty_log():
    log = MemoryLog()
    assert (log.oldest, log.newest, log.total_bytes) == (1, 0, 0)
    assert log.read(0, 100) == (b"", 0)
    assert log.epoch != MemoryLog().epoch
    assert MemoryLog(epoch="mine").epoch == "mine"


def test_messages_are_kept_as_json():
    log = MemoryLog(clock=lambda: 1700000000.25)
    log.append({"a": "ü"})
    encoded, _ = log.read(0, 100)
    assert json.loads(encoded) == {"op": "message", "seq": 1, "ts": 1700000000.25, "payload": {"a": "ü"}}


class TestStartingPoint:
    """A log of the epoch "now" with three messages, of which the first is gone."""

    @pytest.fixture
    def log(self):
        log = MemoryLog(Limits(log_messages=2), epoch="now")
        for number in range(3):
            log.append({"number": number})
        return log

    def test_a_newcomer_gets_what_is_said_from_now_on(self, log):
        assert starting_point(log, None) == (3, False)

    @pytest.mark.parametrize("seq", [0, 1, 2, 3])
    def test_who_was_here_goes_on_where_it_was_even_if_that_is_gone(self, log, seq):
        assert starting_point(log, Resume("now", seq)) == (seq, True)

    def test_who_has_seen_another_epoch_gets_all_of_this_one(self, log):
        assert starting_point(log, Resume("then", 2)) == (0, False)

    def test_who_has_seen_more_than_there_is_gets_everything(self, log):
        assert starting_point(log, Resume("now", 4)) == (0, False)
