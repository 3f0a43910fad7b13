"""When a child is started, restarted, given up and stopped: one pure function and one printable table.

Owns the rules between the states of one child. Must not know processes, pipes or a clock: the time comes in as
an argument, jitter with the event. Nothing here mutates, so any thread may call it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

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
    Rung,
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

Step = tuple[Child, tuple[Action, ...]]


def step(child: Child, event: Event, now: float) -> Step:
    """Answer what the child becomes and what has to be done; an event without a rule changes nothing."""
    rule = TABLE.get((child.state, type(event)))
    return rule(child, event, now) if rule else (child, ())


def _enter(child: Child, state: State, now: float, deadline_s: float | None = None) -> Child:
    return replace(child, state=state, entered_s=now, deadline_s=deadline_s, ladder=())


def _start(child: Child, _event: Any, now: float) -> Step:
    child = replace(child, ready_s=None, reason="")
    return _enter(child, State.STARTING, now, now + child.limits.start_timeout_s), (Start(),)


def _start_afresh(child: Child, event: Any, now: float) -> Step:
    return _start(_forgive(child), event, now)


def _forgive(child: Child) -> Child:
    return replace(child, crashes=(), attempt=0, unstable_crashes=0, reason="")


def _run(child: Child, _event: Any, now: float) -> Step:
    return replace(_enter(child, State.RUNNING, now), ready_s=now), ()


def _rest(child: Child, _event: Any, now: float) -> Step:
    return _enter(child, State.STOPPED, now), ()


def _start_failed(child: Child, event: StartFailed, now: float) -> Step:
    return _give_up(child, event.reason, now)


def _give_up(child: Child, reason: str, now: float) -> Step:
    return replace(_enter(child, State.FATAL, now), reason=reason), (GiveUp(reason),)


def _died_before_go(child: Child, event: Exited, now: float) -> Step:
    # Any other death of a process that was never told to go costs nothing: the start spawns a fresh one.
    return _give_up(child, event.reason, now) if event.is_setup_failure else (child, ())


def _died(child: Child, event: Exited, now: float) -> Step:
    if event.is_setup_failure:
        return _give_up(child, event.reason, now)
    if event.exit_code == 0 and child.quits_tree:
        return _enter(child, State.EXITED, now), (Quit(),)
    return _crash(child, event, now)


def _crash(child: Child, event: Exited, now: float) -> Step:
    limits = child.limits
    crashes = (*(at for at in child.crashes if at > now - limits.period_s), now)
    child = replace(child, crashes=crashes)
    reason = child.reason or event.reason
    if len(crashes) >= limits.intensity:
        count = f"{len(crashes)} crashes within {limits.period_s:g} s"
        return _give_up(child, f"{count}, the last one: {reason}", now)
    was_stable = child.ready_s is not None and now - child.ready_s >= limits.stable_s
    attempt = 1 if was_stable else child.attempt + 1
    unstable = 0 if was_stable else child.unstable_crashes + 1
    child = replace(child, attempt=attempt, unstable_crashes=unstable, reason="")
    delay_s = backoff_s(limits, unstable, event.jitter)
    said = ScheduleRestart(delay_s, attempt, reason)
    if delay_s == 0:
        child, actions = _start(child, event, now)
        return child, (said, *actions)
    return replace(_enter(child, State.BACKOFF, now, now + delay_s), reason=reason), (said,)


def backoff_s(limits: Limits, unstable_crashes: int, jitter: float) -> float:
    """Return how long the next start waits after so many crashes without a stable run."""
    if unstable_crashes == 0:
        return 0.0
    # The exponent is bounded: 2.0 ** 1100 overflows, and generous limits allow that many crashes.
    full_s = min(limits.backoff_cap_s, limits.backoff_base_s * 2.0 ** min(unstable_crashes - 1, 60))
    return full_s * (0.5 + 0.5 * jitter)


def _stop(child: Child, event: StopRequested, now: float) -> Step:
    return _descend(replace(child, after=After.STAY_DOWN), _stop_ladder(now, event.kill_at_s), now)


def _stop_sooner(child: Child, event: StopRequested, now: float) -> Step:
    # A child that is on a shorter ladder already (hung, or killed) stays on it.
    child = replace(child, after=After.STAY_DOWN)
    if not child.ladder or child.ladder[-1].at_s <= event.kill_at_s:
        return child, ()
    return _descend(child, _stop_ladder(now, event.kill_at_s), now)


def _restart(child: Child, _event: Any, now: float) -> Step:
    child = replace(_forgive(child), after=After.START_AGAIN)
    return _descend(child, _stop_ladder(now, now + child.limits.stop_timeout_s), now)


def _restart_after_stop(child: Child, _event: Any, _now: float) -> Step:
    return replace(_forgive(child), after=After.START_AGAIN, reason=child.reason), ()


def _kill(child: Child, _event: Any, now: float) -> Step:
    return _descend(replace(child, after=After.STAY_DOWN), (Rung(now, SendSignal("SIGKILL")),), now)


def _start_timed_out(child: Child, _event: Any, now: float) -> Step:
    return _dump(child, f"not ready within {child.limits.start_timeout_s:g} s", now)


def _fell_silent(child: Child, event: FellSilent, now: float) -> Step:
    return _dump(child, event.reason, now)


def _fell_silent_stopping(child: Child, event: FellSilent, now: float) -> Step:
    # One that stays down has its own deadline, and one that hangs is dealt with already.
    return _dump(child, event.reason, now) if child.after is After.START_AGAIN and not child.is_hung else (child, ())


def _dump(child: Child, reason: str, now: float) -> Step:
    """Have the child write down where its threads are; it dies of that, or is killed."""
    ladder = (
        Rung(now, SendSignal("SIGABRT")),
        Rung(now, SendSignal("SIGCONT")),  # a stopped process writes nothing
        Rung(now + child.limits.dump_s, SendSignal("SIGKILL")),
    )
    child, actions = _descend(replace(child, after=After.COUNT_AS_CRASH, reason=reason), ladder, now)
    return child, (ReportHung(reason), *actions)


def _stop_ladder(now: float, kill_at_s: float) -> tuple[Rung, ...]:
    term_at_s = now + max(0.0, kill_at_s - now) / 2
    return (
        Rung(now, SendStop()),
        Rung(term_at_s, SendSignal("SIGTERM")),
        Rung(max(now, kill_at_s), SendSignal("SIGKILL")),
    )


def _descend(child: Child, ladder: tuple[Rung, ...], now: float) -> Step:
    """Take every rung that is due; the next one is the deadline."""
    due = tuple(rung.action for rung in ladder if rung.at_s <= now)
    rest = ladder[len(due) :]
    entered_s = child.entered_s if child.state is State.STOPPING else now
    child = replace(
        child,
        state=State.STOPPING,
        entered_s=entered_s,
        ladder=rest,
        deadline_s=rest[0].at_s if rest else None,
    )
    return child, due


def _next_rung(child: Child, _event: Any, now: float) -> Step:
    return _descend(child, child.ladder, now)


def _stopped(child: Child, event: Exited, now: float) -> Step:
    if child.after is After.STAY_DOWN:
        return _rest(child, event, now)
    if event.is_setup_failure:
        return _give_up(child, event.reason, now)
    if child.after is After.START_AGAIN:
        return _start(child, event, now)
    return _crash(child, event, now)


Rule = Callable[[Child, Any, float], Step]

TABLE: dict[tuple[State, type], Rule] = {
    (State.STOPPED, StartRequested): _start,
    (State.STOPPED, RestartRequested): _start_afresh,
    (State.STOPPED, Exited): _died_before_go,
    (State.STARTING, BecameReady): _run,
    (State.STARTING, Exited): _died,
    (State.STARTING, StartFailed): _start_failed,
    (State.STARTING, Ticked): _start_timed_out,
    (State.STARTING, FellSilent): _fell_silent,
    (State.STARTING, RestartRequested): _restart,
    (State.STARTING, StopRequested): _stop,
    (State.STARTING, KillRequested): _kill,
    (State.RUNNING, Exited): _died,
    (State.RUNNING, FellSilent): _fell_silent,
    (State.RUNNING, RestartRequested): _restart,
    (State.RUNNING, StopRequested): _stop,
    (State.RUNNING, KillRequested): _kill,
    (State.BACKOFF, Ticked): _start,
    (State.BACKOFF, RestartRequested): _start_afresh,
    (State.BACKOFF, StopRequested): _rest,
    (State.BACKOFF, KillRequested): _rest,
    (State.STOPPING, Exited): _stopped,
    (State.STOPPING, Ticked): _next_rung,
    (State.STOPPING, FellSilent): _fell_silent_stopping,
    (State.STOPPING, RestartRequested): _restart_after_stop,
    (State.STOPPING, StopRequested): _stop_sooner,
    (State.STOPPING, KillRequested): _kill,
    (State.EXITED, RestartRequested): _start_afresh,
    (State.FATAL, RestartRequested): _start_afresh,
}
