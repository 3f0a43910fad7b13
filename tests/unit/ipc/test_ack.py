"""When an ack is due, on a clock that the test moves."""

import hypothesis.strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from ipc.ack import INTERVAL_S, AckPacer


def test_nothing_handled_is_nothing_to_say():
    pacer = AckPacer(5)
    assert not pacer.is_pending
    assert pacer.take(0.0) is None


def test_after_a_quiet_moment_the_ack_goes_at_once():
    pacer = AckPacer()
    pacer.note(1)
    assert pacer.is_pending
    assert pacer.take(10.0) == 1
    assert not pacer.is_pending


def test_under_load_the_acks_keep_their_distance():
    pacer = AckPacer()
    pacer.note(1)
    assert pacer.take(10.0) == 1
    pacer.note(2)
    assert pacer.take(10.0 + INTERVAL_S / 2) is None
    assert pacer.is_pending
    pacer.note(3)
    assert pacer.take(10.0 + 2 * INTERVAL_S) == 3


def test_what_was_told_otherwise_needs_no_ack():
    pacer = AckPacer()
    pacer.note(1)
    pacer.settle(2)
    assert not pacer.is_pending
    pacer.note(3)
    assert pacer.take(10.0) == 3


class Pacing(RuleBasedStateMachine):
    """Whatever is handled is acknowledged once the interval has passed, and never more often."""

    def __init__(self):
        super().__init__()
        self.pacer = AckPacer()
        self.now = 100.0
        self.handled = self.known = 0
        self.acked_at = float("-inf")

    @rule(more=st.integers(1, 100))
    def handle(self, more):
        self.handled += more
        self.pacer.note(self.handled)

    @rule()
    def settle(self):
        self.handled += 1
        self.known = self.handled
        self.pacer.settle(self.handled)

    @rule(passed_s=st.floats(0, 0.02))
    def take(self, passed_s):
        self.now += passed_s
        taken = self.pacer.take(self.now)
        if taken is None:
            assert self.handled == self.known or self.now - self.acked_at < INTERVAL_S
        else:
            assert self.known < taken == self.handled
            assert self.now - self.acked_at >= INTERVAL_S
            self.known, self.acked_at = taken, self.now

    @invariant()
    def says_whether_it_has_something_to_say(self):
        assert self.pacer.is_pending == (self.handled != self.known)


TestPacing = Pacing.TestCase
