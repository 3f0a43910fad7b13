"""The restart policy on a fake clock: exact sequences, and no state that cannot be left."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from launcher.policy import TABLE, step
from launcher.policy_types import (
    Action,
    After,
    BecameReady,
    Child,
    Event,
    Exited,
    FellSilent,
    GiveUp,
    KillRequested,
    Limits,
    Quit,
    ReportHung,
    RestartRequested,
    ScheduleRestart,
    SendSignal,
    SendStop,
    Start,
    StartFailed,
    StartRequested,
    State,
    StopRequested,
    Ticked,
)

DUMP = (SendSignal("SIGABRT"), SendSignal("SIGCONT"))
CRASH = Exited(exit_code=1, reason="exit code 1")


class Clocked:
    """A child of the policy, with a clock that only moves when told to."""

    def __init__(self, **child: Any) -> None:
        self.child = Child(**child)
        self.now = 1000.0

    def feed(self, event: Event, after_s: float = 0.0) -> tuple[Action, ...]:
        self.now += after_s
        self.child, actions = step(self.child, event, self.now)
        return actions

    def start(self) -> None:
        assert self.feed(StartRequested()) == (Start(),)

    def run_for(self, ready_s: float, event: Event = CRASH) -> tuple[Action, ...]:
        """Become ready, and have `event` happen `ready_s` later."""
        self.feed(BecameReady())
        return self.feed(event, after_s=ready_s)


def test_a_start_has_a_deadline_and_ends_with_ready() -> None:
    it = Clocked()
    it.start()

    assert (it.child.state, it.child.deadline_s) == (State.STARTING, 1030.0)
    assert it.feed(BecameReady(), after_s=2) == ()
    assert (it.child.state, it.child.deadline_s, it.child.ready_s) == (State.RUNNING, None, 1002.0)


def test_the_first_crash_after_a_stable_run_restarts_at_once_and_the_next_ones_back_off() -> None:
    it = Clocked()
    it.start()

    assert it.run_for(10.0) == (ScheduleRestart(0.0, 1, "exit code 1"), Start())
    assert it.child.state is State.STARTING
    for attempt, delay_s in ((2, 0.25), (3, 0.5), (4, 1.0)):
        assert it.feed(CRASH, after_s=0.1) == (ScheduleRestart(delay_s, attempt, "exit code 1"),)
        assert (it.child.state, it.child.deadline_s) == (State.BACKOFF, it.now + delay_s)
        assert it.feed(Ticked(), after_s=delay_s) == (Start(),)


def test_a_child_that_was_never_stable_backs_off_from_its_first_crash() -> None:
    it = Clocked()
    it.start()

    assert it.run_for(9.999) == (ScheduleRestart(0.25, 1, "exit code 1"),)


def test_backoff_doubles_up_to_its_cap() -> None:
    it = Clocked(limits=Limits(intensity=100, period_s=1.0))
    it.start()
    delays = []
    for _ in range(10):
        (said,) = it.feed(CRASH, after_s=2.0)
        assert isinstance(said, ScheduleRestart)
        delays.append(said.delay_s)
        it.feed(Ticked(), after_s=said.delay_s)

    assert delays == [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]


@pytest.mark.parametrize(("jitter", "delay_s"), [(0.0, 0.125), (0.5, 0.1875), (1.0, 0.25)])
def test_jitter_takes_away_up_to_half_of_the_delay(jitter: float, delay_s: float) -> None:
    it = Clocked()
    it.start()

    assert it.feed(Exited(exit_code=1, jitter=jitter)) == (ScheduleRestart(delay_s, 1, ""),)


def test_thousands_of_crashes_do_not_overflow() -> None:
    it = Clocked(unstable_crashes=5000, attempt=5000)
    it.start()

    assert it.feed(CRASH) == (ScheduleRestart(30.0, 5001, "exit code 1"),)


def test_five_crashes_within_the_window_are_one_too_many() -> None:
    it = Clocked()
    it.start()
    for _ in range(4):
        it.feed(CRASH, after_s=1.0)
        it.feed(Ticked(), after_s=5.0)

    (said,) = it.feed(CRASH, after_s=1.0)

    assert said == GiveUp("5 crashes within 60 s, the last one: exit code 1")
    assert (it.child.state, it.child.deadline_s) == (State.FATAL, None)


def test_stability_forgives_the_backoff_but_not_the_window() -> None:
    it = Clocked()
    it.start()
    for attempt in range(4):
        assert it.run_for(11.0)[0] == ScheduleRestart(0.0, 1, "exit code 1"), attempt

    assert it.run_for(11.0) == (GiveUp("5 crashes within 60 s, the last one: exit code 1"),)


def test_crashes_that_are_old_enough_do_not_count() -> None:
    it = Clocked()
    it.start()
    for _ in range(20):
        assert it.run_for(15.0)[0] == ScheduleRestart(0.0, 1, "exit code 1")


def test_dying_every_1_2_seconds_does_not_dodge_the_window() -> None:
    it = Clocked(limits=Limits(backoff_base_s=0.01, backoff_cap_s=0.01))
    it.start()
    crashes = 0
    while it.child.state is not State.FATAL:
        it.run_for(1.2)
        it.feed(Ticked(), after_s=0.01)
        crashes += 1

    assert crashes == 5


def test_a_setup_failure_is_final_at_once() -> None:
    it = Clocked()
    it.start()

    failed = Exited(exit_code=78, is_setup_failure=True, reason="no Qt")
    assert it.feed(failed) == (GiveUp("no Qt"),)
    assert it.child.reason == "no Qt"


def test_a_setup_failure_before_go_is_final_and_any_other_death_then_costs_nothing() -> None:
    it = Clocked()
    assert it.feed(CRASH) == ()
    assert it.child.state is State.STOPPED

    assert it.feed(Exited(exit_code=78, is_setup_failure=True, reason="no Qt")) == (GiveUp("no Qt"),)


def test_a_start_that_cannot_even_begin_is_final() -> None:
    it = Clocked()
    it.start()

    assert it.feed(StartFailed("port taken")) == (GiveUp("port taken"),)


@pytest.mark.parametrize("state", [State.STARTING, State.RUNNING])
def test_the_users_child_leaving_with_0_means_quit(state: State) -> None:
    it = Clocked(quits_tree=True)
    it.start()
    if state is State.RUNNING:
        it.feed(BecameReady())

    assert it.feed(Exited(exit_code=0)) == (Quit(),)
    assert it.child.state is State.EXITED


def test_any_other_child_leaving_with_0_has_crashed() -> None:
    it = Clocked()
    it.start()

    assert it.run_for(20.0, Exited(exit_code=0, reason="exit code 0"))[0] == ScheduleRestart(0.0, 1, "exit code 0")


def test_the_stop_ladder_goes_from_a_message_to_sigterm_to_sigkill() -> None:
    it = Clocked()
    it.start()
    it.feed(BecameReady())

    assert it.feed(StopRequested(it.now + 4.0)) == (SendStop(),)
    assert (it.child.state, it.child.deadline_s) == (State.STOPPING, 1002.0)
    assert it.feed(Ticked(), after_s=2.0) == (SendSignal("SIGTERM"),)
    assert it.feed(Ticked(), after_s=2.0) == (SendSignal("SIGKILL"),)
    assert it.child.deadline_s is None
    assert it.feed(Exited(exit_code=None, signal="SIGKILL")) == ()
    assert it.child.state is State.STOPPED


def test_a_late_tick_takes_all_rungs_that_are_due() -> None:
    it = Clocked()
    it.start()
    it.feed(StopRequested(it.now + 4.0))

    assert it.feed(Ticked(), after_s=100.0) == (SendSignal("SIGTERM"), SendSignal("SIGKILL"))


def test_a_deadline_in_the_past_takes_the_whole_ladder_at_once() -> None:
    it = Clocked()
    it.start()

    assert it.feed(StopRequested(it.now - 1.0)) == (SendStop(), SendSignal("SIGTERM"), SendSignal("SIGKILL"))


def test_kill_goes_to_the_last_rung() -> None:
    it = Clocked()
    it.start()
    it.feed(StopRequested(it.now + 4.0))

    assert it.feed(KillRequested()) == (SendSignal("SIGKILL"),)
    assert it.child.deadline_s is None


def test_a_later_stop_does_not_lengthen_the_ladder_and_a_sooner_one_shortens_it() -> None:
    it = Clocked()
    it.start()
    it.feed(StopRequested(it.now + 4.0))

    assert it.feed(StopRequested(it.now + 9.0)) == ()
    assert it.child.ladder[-1].at_s == 1004.0
    assert it.feed(StopRequested(it.now + 2.0)) == (SendStop(),)
    assert it.child.ladder[-1].at_s == 1002.0


def test_a_restart_stops_and_starts_and_counts_nothing() -> None:
    it = Clocked()
    it.start()
    it.feed(CRASH)
    it.feed(Ticked(), after_s=1.0)

    assert it.feed(RestartRequested()) == (SendStop(),)
    assert it.child.ladder[-1].at_s == it.now + 5.0
    assert it.feed(Exited(exit_code=0), after_s=0.1) == (Start(),)
    assert (it.child.state, it.child.crashes, it.child.attempt) == (State.STARTING, (), 0)


def test_a_second_restart_does_not_lengthen_the_first() -> None:
    it = Clocked()
    it.start()
    it.feed(RestartRequested())

    assert it.feed(RestartRequested(), after_s=2.0) == ()
    assert it.child.ladder[-1].at_s == 1005.0


def test_a_stop_during_a_restart_wins() -> None:
    it = Clocked()
    it.start()
    it.feed(RestartRequested())
    it.feed(StopRequested(it.now + 4.0))

    assert it.feed(Exited(exit_code=0)) == ()
    assert it.child.state is State.STOPPED


@pytest.mark.parametrize("state", [State.STOPPED, State.BACKOFF, State.EXITED, State.FATAL])
def test_restart_revives_whatever_has_no_process(state: State) -> None:
    it = Clocked(state=state, crashes=(999.0,) * 5, attempt=5, unstable_crashes=5, reason="given up")

    assert it.feed(RestartRequested()) == (Start(),)
    assert (it.child.crashes, it.child.attempt, it.child.reason) == ((), 0, "")


def test_a_child_that_is_not_ready_in_time_is_dumped_killed_and_counted() -> None:
    it = Clocked()
    it.start()

    assert it.feed(Ticked(), after_s=30.0) == (ReportHung("not ready within 30 s"), *DUMP)
    assert it.feed(Ticked(), after_s=0.5) == (SendSignal("SIGKILL"),)
    assert it.feed(Exited(exit_code=None, signal="SIGKILL", reason="killed by SIGKILL")) == (
        ScheduleRestart(0.25, 1, "not ready within 30 s"),
    )


def test_a_child_that_falls_silent_is_dumped_killed_and_counted() -> None:
    it = Clocked()
    it.start()
    it.feed(BecameReady())

    assert it.feed(FellSilent("no heartbeat for 5 s"), after_s=20.0) == (ReportHung("no heartbeat for 5 s"), *DUMP)
    assert it.child.state is State.STOPPING
    assert it.feed(FellSilent("no heartbeat for 5 s")) == (), "once"
    assert it.feed(Exited(exit_code=None, signal="SIGABRT", reason="killed by SIGABRT"), after_s=0.1) == (
        ScheduleRestart(0.0, 1, "no heartbeat for 5 s"),
        Start(),
    )


def test_a_child_that_is_stopped_while_it_starts_is_not_waited_for() -> None:
    it = Clocked()
    it.start()

    assert it.feed(FellSilent("stopped"), after_s=5.0) == (ReportHung("stopped"), *DUMP)
    assert it.child.state is State.STOPPING


@pytest.mark.parametrize("state", [state for state in State if state not in (State.STARTING, State.RUNNING)])
def test_only_a_child_that_works_can_fall_silent(state: State) -> None:
    it = Clocked(state=state)
    assert it.feed(FellSilent("no heartbeat for 5 s")) == ()
    assert it.child.state is state


def test_a_child_that_falls_silent_while_it_is_being_restarted_is_dumped_and_counted() -> None:
    it = Clocked()
    it.start()
    it.feed(BecameReady())
    it.feed(RestartRequested(), after_s=20.0)

    silent = FellSilent("no heartbeat for 5 s")
    assert it.feed(silent, after_s=1.0) == (ReportHung("no heartbeat for 5 s"), *DUMP)
    assert it.child.is_hung
    assert it.feed(silent) == (), "once"
    assert it.feed(Exited(exit_code=None, signal="SIGABRT"), after_s=0.1) == (
        ScheduleRestart(0.0, 1, "no heartbeat for 5 s"),
        Start(),
    )


def test_a_child_that_stays_down_has_a_deadline_and_no_time_for_a_dump() -> None:
    it = Clocked()
    it.start()
    it.feed(BecameReady())
    it.feed(StopRequested(it.now + 4.0))

    assert it.feed(FellSilent("no heartbeat for 5 s"), after_s=1.0) == ()
    assert not it.child.is_hung


def test_a_restart_of_a_hung_child_starts_it_afresh_and_does_not_hide_the_hang() -> None:
    it = Clocked()
    it.start()
    it.feed(BecameReady())
    it.feed(FellSilent("no heartbeat for 5 s"), after_s=1.0)

    assert it.feed(RestartRequested()) == ()

    assert it.child.is_hung
    assert it.feed(Exited(exit_code=None, signal="SIGABRT")) == (Start(),)
    assert (it.child.crashes, it.child.reason) == ((), "")


def test_a_stop_of_a_hung_child_does_not_bring_it_back() -> None:
    it = Clocked()
    it.start()
    it.feed(Ticked(), after_s=30.0)
    it.feed(StopRequested(it.now + 4.0))

    assert it.child.after is After.STAY_DOWN
    assert it.feed(Exited(exit_code=None, signal="SIGABRT")) == ()
    assert it.child.state is State.STOPPED


def test_a_stop_in_backoff_needs_no_process() -> None:
    it = Clocked()
    it.start()
    it.feed(CRASH)

    assert it.feed(StopRequested(it.now + 4.0)) == ()
    assert (it.child.state, it.child.deadline_s) == (State.STOPPED, None)


def test_the_table_reads_as_one() -> None:
    """Every state can be left; the ones that have a process learn of its death; restart is understood everywhere."""
    for state in State:
        assert (state, RestartRequested) in TABLE
    for state in (State.STARTING, State.RUNNING, State.STOPPING):
        assert {(state, Exited), (state, StopRequested), (state, KillRequested)} <= TABLE.keys()


EVENTS = st.one_of(
    st.just(StartRequested()),
    st.just(RestartRequested()),
    st.just(KillRequested()),
    st.just(BecameReady()),
    st.just(Ticked()),
    st.just(FellSilent("no heartbeat for 5 s")),
    st.builds(StopRequested, st.floats(-5, 5).map(lambda offset_s: 1000 + offset_s)),
    st.builds(StartFailed, st.just("no socket")),
    st.builds(
        Exited,
        exit_code=st.sampled_from([None, 0, 1, 78]),
        is_setup_failure=st.booleans(),
        reason=st.just("died"),
        jitter=st.floats(0, 1),
    ),
)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(
    events=st.lists(st.tuples(EVENTS, st.floats(0, 40)), max_size=60),
    quits_tree=st.booleans(),
)
def test_whatever_happens_a_child_can_be_brought_back_and_stopped(
    events: list[tuple[Event, float]], quits_tree: bool
) -> None:
    """From every state that can be reached: a deadline lies ahead or a process lives; a restart leads to RUNNING, and a
    stop to no process, by the events that a launcher can count on: time passes, a killed process dies."""
    it = Clocked(quits_tree=quits_tree)
    for event, after_s in events:
        if isinstance(event, Ticked) and (it.child.deadline_s is None or it.child.deadline_s > it.now + after_s):
            continue  # the launcher ticks only what is due
        it.feed(event, after_s)
        check_invariants(it.child)

    bring_back(it)
    assert it.child.state is State.RUNNING
    stop(it)
    assert not it.child.has_process


def check_invariants(child: Child) -> None:
    assert (child.deadline_s is not None) or child.state is not State.BACKOFF
    assert (child.deadline_s is not None) or child.state is not State.STARTING
    assert child.state is State.STOPPING or child.ladder == ()
    assert len(child.crashes) <= child.limits.intensity
    if child.state is State.STOPPING:
        assert child.deadline_s == (child.ladder[0].at_s if child.ladder else None)


def bring_back(it: Clocked) -> None:
    it.feed(RestartRequested())
    if it.child.state is State.STOPPING:
        climb_down(it)
        it.feed(Exited(exit_code=None, signal="SIGKILL"))
    assert it.child.state is State.STARTING
    it.feed(BecameReady())


def stop(it: Clocked) -> None:
    it.feed(StopRequested(it.now + 4))
    climb_down(it)
    it.feed(Exited(exit_code=None, signal="SIGKILL"))


def climb_down(it: Clocked) -> None:
    """Let the deadlines pass; the ladder ends after a few, with the signal that no process survives."""
    for _ in range(4):
        if it.child.deadline_s is not None:
            it.feed(Ticked(), after_s=max(0.0, it.child.deadline_s - it.now))
    assert it.child.deadline_s is None


def test_a_child_that_stops_to_start_again_and_finds_that_it_cannot_is_given_up() -> None:
    it = Clocked()
    it.start()
    it.feed(RestartRequested())

    assert it.feed(Exited(exit_code=78, is_setup_failure=True, reason="no database")) == (GiveUp("no database"),)
    assert it.child.state is State.FATAL
