"""What the launcher knows of its children: each one's policy state, and its record.

Owns the current states and what is remembered for people (restarts, last exit). Starts and stops nothing. Used by the
supervisor's thread; what leaves it is an immutable Snapshot.
"""

from __future__ import annotations

from typing import Any

import msgspec

from launcher.policy import step
from launcher.policy_types import Action, Child, Event, State
from launcher.process import ExitStatus
from launcher.spec import ChildSpec
from launcher.status import ChildStatus, Snapshot


class Roster:
    """The children by name, in the order in which they start."""

    def __init__(self, specs: tuple[ChildSpec, ...]) -> None:
        self.children = {spec.name: Child(limits=spec.limits, quits_tree=spec.quits_tree) for spec in specs}
        self._starts = dict.fromkeys(self.children, 0)
        self._started_s: dict[str, float] = {}
        self._pids: dict[str, int] = {}
        self._last_exits: dict[str, dict[str, Any]] = {}
        self._spare_pids: dict[str, int] = {}
        self._is_restarting = False
        self._has_changed = True

    @property
    def started(self) -> frozenset[str]:
        """The children that have been started at least once."""
        return frozenset(name for name, count in self._starts.items() if count)

    @property
    def are_all_running(self) -> bool:
        """Whether every child is ready."""
        return all(child.state is State.RUNNING for child in self.children.values())

    @property
    def deadline_s(self) -> float | None:
        """When the policy next wants to hear of the time."""
        deadlines = [child.deadline_s for child in self.children.values() if child.deadline_s is not None]
        return min(deadlines, default=None)

    def due(self, now: float) -> list[str]:
        """Return the children whose deadline has passed."""
        return [
            name for name, child in self.children.items() if child.deadline_s is not None and child.deadline_s <= now
        ]

    def apply(self, name: str, event: Event, now: float) -> tuple[Action, ...]:
        """Tell the policy what happened to a child; return what has to be done."""
        before = self.children[name]
        self.children[name], actions = step(before, event, now)
        self._has_changed |= self.children[name] != before
        return actions

    def note_start(self, name: str, pid: int, now: float) -> None:
        """Remember that a process was told to go."""
        self._starts[name] += 1
        self._pids[name] = pid
        self._started_s[name] = now
        self._has_changed = True

    def note_exit(self, name: str, status: ExitStatus, uptime_s: float) -> None:
        """Remember how a process ended."""
        self._pids.pop(name, None)
        self._started_s.pop(name, None)
        self._last_exits[name] = {**msgspec.structs.asdict(status), "words": status.words, "uptime_s": uptime_s}
        self._has_changed = True

    def note_spares(self, pids: dict[str, int]) -> None:
        """Remember which processes are in waiting."""
        self._has_changed |= pids != self._spare_pids
        self._spare_pids = pids

    def note_restarting(self, *, is_restarting: bool) -> None:
        """Remember whether planned restarts are under way."""
        self._has_changed |= is_restarting != self._is_restarting
        self._is_restarting = is_restarting

    def take_change(self) -> bool:
        """Return whether anything changed since the last call."""
        has_changed, self._has_changed = self._has_changed, False
        return has_changed

    def snapshot(self, base: Snapshot, *, is_stopping: bool) -> Snapshot:
        """Return `base` with the children as they are now."""
        children = tuple(self._status(name, child) for name, child in self.children.items())
        return msgspec.structs.replace(
            base, children=children, is_stopping=is_stopping, is_restarting=self._is_restarting
        )

    def _status(self, name: str, child: Child) -> ChildStatus:
        return ChildStatus(
            name=name,
            state=child.state,
            pid=self._pids.get(name),
            spare_pid=self._spare_pids.get(name),
            restarts=max(0, self._starts[name] - 1),
            started_s=self._started_s.get(name),
            last_exit=self._last_exits.get(name),
            attempt=child.attempt,
            reason=child.reason,
        )
