"""Restarts that somebody asked for: one child after the other, each successor waiting before its predecessor stops.

A successor is a fresh process, not the spare: whoever restarts a child may have changed what it imports.

Owns the queue of them and the rule of what comes next. Must not know processes, pipes or a clock: facts and times come
in, steps go out. The supervisor's thread uses it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping

import msgspec

from launcher.policy_types import Child, State
from launcher.stages import Stage


class SpawnSuccessor(msgspec.Struct, frozen=True):
    """Spawn a fresh process in place of the spare."""

    name: str


class Prepare(msgspec.Struct, frozen=True):
    """Let the successor prepare to take over."""

    name: str


class Replace(msgspec.Struct, frozen=True):
    """Stop the process that acts, so that the next one takes its place."""

    name: str


class Abandon(msgspec.Struct, frozen=True):
    """Leave the process that acts where it is: there is no successor."""

    name: str
    reason: str


Step = SpawnSuccessor | Prepare | Replace | Abandon


class PlannedRestarts:
    """The restarts that are still to come, and the one under way. `prepares`: children whose successors prepare."""

    def __init__(self, prepares: Iterable[str]) -> None:
        self._prepares = frozenset(prepares)
        self._queue: deque[str] = deque()
        self._is_replacing = False
        self.deadline_s: float | None = None
        """By then the successor has to be there."""

    def add(self, name: str) -> None:
        """Have a child restarted, unless it is about to be."""
        to_come = list(self._queue)[1:] if self._is_replacing else self._queue
        if name not in to_come:
            self._queue.append(name)

    @property
    def is_under_way(self) -> bool:
        """Whether there is anything left to do."""
        return bool(self._queue)

    def clear(self) -> None:
        """Forget what has not been done."""
        self._queue.clear()
        self._finish()

    def next_step(self, children: Mapping[str, Child], spares: Mapping[str, Stage], now: float) -> Step | None:
        """Return what has to be done now, or None when there is something to wait for."""
        while self._queue:
            name = self._queue[0]
            child = children[name]
            if self._is_replacing:
                if child.state in (State.STOPPING, State.STARTING):
                    return None
            elif child.state is not State.RUNNING and self.deadline_s is None:
                return self._replace(name)  # there is nobody to take over from
            elif child.state is State.RUNNING:
                return self._bring_successor(name, child, spares.get(name), now)
            # Else it died meanwhile, and starts again as after any other death.
            self._queue.popleft()
            self._finish()
        return None

    def abandon(self, reason: str) -> Abandon:
        """Give up the restart that is under way."""
        name = self._queue.popleft()
        self._finish()
        return Abandon(name, reason)

    def is_waiting_for(self, name: str) -> bool:
        """Whether a child's successor is being brought up."""
        return bool(self._queue) and self._queue[0] == name and self.deadline_s is not None

    def _bring_successor(self, name: str, child: Child, stage: Stage | None, now: float) -> Step | None:
        if self.deadline_s is None:
            self.deadline_s = now + child.limits.start_timeout_s
            return SpawnSuccessor(name)
        if now >= self.deadline_s:
            return self.abandon(f"its successor was not ready within {child.limits.start_timeout_s:g} s")
        if stage is Stage.IMPORTED and name in self._prepares:
            return Prepare(name)
        if stage in (Stage.IMPORTED, Stage.PREPARED):
            return self._replace(name)
        return None

    def _replace(self, name: str) -> Replace:
        self.deadline_s = None
        self._is_replacing = True
        return Replace(name)

    def _finish(self) -> None:
        self._is_replacing = False
        self.deadline_s = None
