"""A sequence against the plainest model of one, and read by other threads while it is written."""

import sys
import threading

import hypothesis.strategies as st
import pytest
from hypothesis import given
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from ipc.sequence import Lapped, Sequence

objects = st.binary(min_size=1, max_size=30).map(lambda raw: raw.replace(b"\n", b"."))


class SequenceMachine(RuleBasedStateMachine):
    """The model is a list of everything that was ever pushed, and how much of it has been dropped."""

    def __init__(self):
        super().__init__()
        self.sequence = Sequence()
        self.pushed = []
        self.dropped = 0

    @rule(encoded=objects)
    def push(self, encoded):
        self.pushed.append(encoded)
        assert self.sequence.push(encoded) == len(self.pushed)

    @rule(number=st.integers(-5, 60))
    def drop_through(self, number):
        self.sequence.drop_through(number)
        self.dropped = max(self.dropped, min(number, len(self.pushed)))

    @rule(data=st.data(), max_bytes=st.integers(0, 100))
    def read(self, data, max_bytes):
        after = data.draw(st.integers(0, len(self.pushed) + 3))
        if after < self.dropped:
            with pytest.raises(Lapped):
                self.sequence.read(after, max_bytes)
            return
        joined, last = self.sequence.read(after, max_bytes)
        expected = self.pushed[after:last]
        assert joined == b"\n".join(expected)
        if after >= len(self.pushed):
            assert last == after
            return
        assert len(expected) >= 1
        assert len(joined) <= max_bytes or len(expected) == 1

    @invariant()
    def figures_are_true(self):
        kept = self.pushed[self.dropped :]
        assert self.sequence.oldest == self.dropped + 1
        assert self.sequence.newest == len(self.pushed)
        assert len(self.sequence) == len(kept)
        assert self.sequence.total_bytes == sum(map(len, kept))


TestSequence = SequenceMachine.TestCase


@given(newest=st.integers(0, 2**53))
def test_numbering_goes_on_where_it_is_told(newest):
    sequence = Sequence(newest)
    assert len(sequence) == 0
    assert sequence.read(newest, 100) == (b"", newest)
    assert sequence.push(b"x") == newest + 1
    assert sequence.read(newest, 100) == (b"x", newest + 1)
    if newest:
        with pytest.raises(Lapped):
            sequence.read(newest - 1, 100)


def test_an_entry_that_goes_while_it_is_read_laps_the_reader():
    """What a reader sees that has compared its cursor just before the entries are dropped."""
    sequence = Sequence()
    for number in range(4):
        sequence.push(b"%d" % number)
    sequence.drop_through(3)
    sequence.oldest = 1  # as it was when the reader looked
    with pytest.raises(Lapped):
        sequence.read(0, 100)


def test_what_is_dropped_can_no_longer_be_read_even_while_it_is_still_held():
    sequence = Sequence()
    for _ in range(100):
        sequence.push(b"x")
    sequence.drop_through(2)
    for after in (0, 1):
        with pytest.raises(Lapped):
            sequence.read(after, 100)
    assert sequence.read(2, 1) == (b"x", 3)


def test_a_batch_may_be_as_large_as_was_said_and_no_larger():
    sequence = Sequence()
    for _ in range(10):
        sequence.push(b"x" * 10)
    assert sequence.read(0, 31) == (b"x" * 10 + b"\n" + b"x" * 10, 2)
    assert sequence.read(0, 32) == (b"\n".join([b"x" * 10] * 3), 3)


def test_a_batch_fits_also_when_its_entries_are_larger_than_the_others():
    sequence = Sequence()
    for size in [1] * 9 + [600, 600]:
        sequence.push(b"x" * size)
    assert sequence.read(9, 1200) == (b"x" * 600, 10)
    assert sequence.read(9, 1201) == (b"x" * 600 + b"\n" + b"x" * 600, 11)


def test_a_long_dropped_beginning_is_given_back():
    sequence = Sequence()
    for _ in range(1000):
        sequence.push(b"x" * 1000)
    kept = sys.getsizeof(sequence._store[1])
    sequence.drop_through(990)
    assert sys.getsizeof(sequence._store[1]) < kept / 10


def test_a_reader_without_a_lock_misses_nothing_unsaid():
    """One thread pushes and drops, another reads: each read continues exactly, or says that it was lapped."""
    sequence = Sequence()
    total = 50_000
    ended = threading.Event()

    def write():
        for number in range(1, total + 1):
            sequence.push(b"%d" % number)
            if len(sequence) > 50:
                sequence.drop_through(sequence.oldest)
        ended.set()

    writer = threading.Thread(target=write)
    writer.start()
    cursor = laps = 0
    while cursor < total:
        try:
            joined, last = sequence.read(cursor, 200)
        except Lapped:
            laps += 1
            assert sequence.oldest > cursor + 1
            cursor = sequence.oldest - 1
            continue
        if last > cursor:
            assert joined.split(b"\n") == [b"%d" % number for number in range(cursor + 1, last + 1)]
        cursor = last
    writer.join()
    assert ended.is_set()


def test_an_interrupt_between_two_steps_leaves_nothing_half_added():
    """Ctrl-C while a message is added: what is counted and what is there stay the same."""
    sequence = Sequence()
    sequence.push(b"1")
    append = sequence._append

    def append_and_interrupt(encoded):
        append(encoded)
        raise KeyboardInterrupt

    sequence._append = append_and_interrupt
    with pytest.raises(KeyboardInterrupt):
        sequence.push(b"lost")
    sequence._append = append
    assert sequence.push(b"2") == 2
    assert sequence.read(0, 100) == (b"1\n2", 2)
    assert sequence.total_bytes == 2
