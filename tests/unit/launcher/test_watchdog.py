"""When silence means that a child hangs, on a clock that only moves when told to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.watchdog import CLOSE_LOOKS_S, LATE_S, LOOK_EVERY_S, STARVED_FACTOR, Load, begin, look

IDLE = Load(1.0, 1.0)


class Clocked:
    """The watch of one child with a limit of 5 s, begun at 1000."""

    def __init__(self) -> None:
        self.start_s = self.now = self.beat_s = 1000.0
        self.load = IDLE
        self.watch = begin(5.0, self.now)

    def look(self, late_s: float = 0.0) -> bool:
        """Look when the watch wants it, or later."""
        self.now = self.watch.due_s + late_s
        self.watch, is_hung = look(self.watch, self.beat_s, self.load, self.now)
        return is_hung

    def looks_until_hung(self) -> list[float]:
        """Return the times of looking, from the start, up to the one that finds the child hung."""
        times = []
        while not self.look():
            times.append(self.now - self.start_s)
        return [*times, self.now - self.start_s]


def test_a_child_that_is_never_heard_again_hangs_when_its_limit_is_up() -> None:
    assert Clocked().looks_until_hung() == [4.0, 4.25, 4.5, 4.75, 5.0]


def test_a_child_that_beats_is_looked_at_seldom() -> None:
    it = Clocked()
    looks = 0
    while it.now < 1100.0:
        it.beat_s = it.watch.due_s - 0.3
        assert not it.look()
        looks += 1

    assert looks <= 100 / (5.0 - CLOSE_LOOKS_S - 0.3) + 1


def test_a_beat_in_the_last_moment_counts_from_when_it_came() -> None:
    it = Clocked()
    for _ in range(4):
        assert not it.look()
    it.beat_s = 1004.9

    assert not it.look()
    assert it.watch.due_s == pytest.approx(1004.9 + 4.0)


def test_the_launchers_own_suspension_is_no_silence() -> None:
    it = Clocked()
    assert not it.look(late_s=60.0)
    assert it.looks_until_hung()[-1] == 64.0 + 5.0, "it has its whole limit again"


def test_a_suspension_between_two_close_looks_is_none_either() -> None:
    it = Clocked()
    for _ in range(3):
        assert not it.look()
    assert not it.look(late_s=LATE_S + 0.01)
    assert it.watch.due_s == it.now + 5.0 - CLOSE_LOOKS_S


def test_a_look_that_is_a_little_late_is_taken_as_it_is() -> None:
    it = Clocked()
    for _ in range(4):
        it.look()
    assert it.look(late_s=LATE_S)


def test_a_child_that_is_not_let_run_does_not_hang() -> None:
    it = Clocked()
    for _ in range(20):
        it.load = Load(1.0 + (it.watch.due_s - 1000) * 0.05, 1.0 + (it.watch.due_s - 1000) * 0.95)
        assert not it.look()


def test_but_not_for_ever() -> None:
    it = Clocked()
    while True:
        it.load = Load(1.0, 1.0 + (it.watch.due_s - 1000))
        if it.look():
            break

    assert it.now == pytest.approx(1000 + 5 * STARVED_FACTOR, abs=CLOSE_LOOKS_S)


@pytest.mark.parametrize(
    ("run_share", "waited_share"),
    [
        (0.33, 0.66),  # a busy loop among others on the same processor
        (0.0, 0.0),  # stopped, or waiting for something that never comes
        (0.05, 0.3),  # other threads go on, the one that matters does not
    ],
)
def test_a_child_that_runs_or_does_not_want_to_hangs_on_a_busy_machine_too(
    run_share: float, waited_share: float
) -> None:
    it = Clocked()
    while True:
        passed_s = it.watch.due_s - 1000
        it.load = Load(1.0 + passed_s * run_share, 1.0 + passed_s * waited_share)
        if it.look():
            break

    assert it.now == 1005.0


def test_a_beat_from_the_future_does_not_last() -> None:
    it = Clocked()
    it.beat_s = float("inf")
    assert not it.look()
    it.beat_s = it.now
    assert it.looks_until_hung()[-1] == 9.0


@given(st.lists(st.floats(0.05, 3.9), min_size=1, max_size=40), st.lists(st.floats(0.0, 5.0), max_size=40))
def test_no_child_that_beats_within_its_limit_ever_hangs(pauses: list[float], delays: list[float]) -> None:
    """However the pauses lie to the looks, and however late each look is."""
    it = Clocked()
    beats = [1000.0]
    for pause in pauses:
        beats.append(beats[-1] + pause)
    late = iter([*delays, *([0.0] * 1000)])
    while it.watch.due_s < beats[-1]:
        delay = next(late)
        it.beat_s = max(beat for beat in beats if beat <= it.watch.due_s + delay)
        assert not it.look(late_s=delay)


@given(st.lists(st.floats(0.0, LATE_S), max_size=30))
def test_every_silent_child_is_found_and_not_before_its_time(delays: list[float]) -> None:
    it = Clocked()
    late = iter([*delays, *([0.0] * 100)])
    while not it.look(late_s=next(late)):
        assert it.now < 1005.0

    assert 1005.0 <= it.now <= 1005.0 + LATE_S
    assert it.watch.due_s <= 1005.0 + LOOK_EVERY_S
