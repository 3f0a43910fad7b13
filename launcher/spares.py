"""When a child is to have a spare: a process that has imported everything and waits for go.

Owns what is remembered of spares that died or took too long. Must not know processes, pipes or a clock: times come in.
The supervisor's thread uses it.
"""

from __future__ import annotations

from collections.abc import Mapping

from launcher.policy import backoff_s
from launcher.policy_types import Child, State
from launcher.stages import Stage

_STARTING = frozenset({State.STARTING, State.STOPPING})


class SpareBook:
    """Says which spare to spawn next, one at a time, and which one will never be of use."""

    def __init__(self) -> None:
        self._failures: dict[str, int] = {}
        self._not_before_s: dict[str, float] = {}
        self._spawned_s: dict[str, float] = {}
        self._imported_s: dict[str, float] = {}

    def wanted(self, children: Mapping[str, Child], spares: Mapping[str, Stage], now: float) -> str | None:
        """Return the child that should get a spare now."""
        if not _is_calm(children, spares):
            return None
        for name in _without_spare(children, spares):
            if self._not_before_s.get(name, now) <= now:
                return name
        return None

    def overdue(self, children: Mapping[str, Child], spares: Mapping[str, Stage], now: float) -> str | None:
        """Return a child whose spare has been importing for longer than a start may take."""
        for name in _importing(spares):
            if self._import_by_s(name, children) <= now:
                return name
        return None

    def deadline_s(self, children: Mapping[str, Child], spares: Mapping[str, Stage], now: float) -> float | None:
        """Return when time alone changes what is wanted or overdue."""
        deadlines = [self._import_by_s(name, children) for name in _importing(spares)]
        if _is_calm(children, spares):
            deadlines += [self._not_before_s.get(name, now) for name in _without_spare(children, spares)]
        return min((deadline_s for deadline_s in deadlines if deadline_s > now), default=None)

    def note_spawn(self, name: str, now: float) -> None:
        """Remember that a spare was spawned."""
        self._spawned_s[name] = now
        self._imported_s.pop(name, None)

    def note_import(self, name: str, now: float) -> None:
        """Remember that a spare is warm."""
        self._imported_s[name] = now

    def note_death(self, child: tuple[str, Child], now: float, jitter: float) -> float:
        """Remember that a spare died, or could not be spawned; return how long the next one has to wait."""
        name, limits = child[0], child[1].limits
        imported_s = self._imported_s.pop(name, None)
        was_stable = imported_s is not None and now - imported_s >= limits.stable_s
        failures = self._failures[name] = 1 if was_stable else self._failures.get(name, 0) + 1
        delay_s = backoff_s(limits, failures, jitter)
        self._not_before_s[name] = now + delay_s
        return delay_s

    def _import_by_s(self, name: str, children: Mapping[str, Child]) -> float:
        return self._spawned_s.get(name, 0.0) + children[name].limits.start_timeout_s


def _is_calm(children: Mapping[str, Child], spares: Mapping[str, Stage]) -> bool:
    """Whether a spare would take the processor from nobody: a child that starts, or another spare."""
    return not _importing(spares) and not any(child.state in _STARTING for child in children.values())


def _importing(spares: Mapping[str, Stage]) -> list[str]:
    return [name for name, stage in spares.items() if stage is Stage.IMPORTING]


def _without_spare(children: Mapping[str, Child], spares: Mapping[str, Stage]) -> list[str]:
    return [name for name, child in children.items() if child.state is State.RUNNING and name not in spares]
