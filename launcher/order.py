"""Who may start and who has to stop next: the order of the tree.

Owns the rule between children; a single child's rules are in `policy`. Pure: states come in, names go out.
"""

from __future__ import annotations

from collections.abc import Mapping

from launcher.policy_types import After, Child, State

_MADE_UP_ITS_MIND = frozenset({State.RUNNING, State.FATAL, State.EXITED})


def next_to_start(children: Mapping[str, Child], started: frozenset[str]) -> str | None:
    """Return the child that may start now, or None.

    Each child starts once all before it are ready. One that was given up counts as settled: the others run without
    it (a ui that shows what went wrong is better than none).
    """
    for name, child in children.items():
        if name not in started and child.state is State.STOPPED:
            return name
        if child.state not in _MADE_UP_ITS_MIND:
            return None
    return None


def next_to_stop(children: Mapping[str, Child]) -> str | None:
    """Return the child that has to be asked to stop now, or None: the last one, since those before it wait for it."""
    for name, child in reversed(list(children.items())):
        if child.state is State.STOPPING and child.after is After.STAY_DOWN:
            return None
        if child.has_process or child.state is State.BACKOFF:
            return name
    return None


STOP_TIMEOUT_S = 5.0
"""All children together have this long to stop, from the first message to the last SIGKILL's effect."""

_RESERVE_S = 0.5


def kill_at_s(children: Mapping[str, Child], stop_by_s: float, now: float) -> float:
    """Return when the child whose turn it is to stop gets killed: the others must have their share of the time."""
    waiting = sum(child.has_process for child in children.values())
    return now + max(0.0, stop_by_s - _RESERVE_S - now) / max(1, waiting)
