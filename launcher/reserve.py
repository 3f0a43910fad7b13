"""The processes in waiting: spares for when a child dies, successors for when it is to be restarted.

Owns the course of both. Must not know why a restart is wanted; when a spare is wanted and what comes next in a restart
is decided in `spares` and `planned_restarts`. Used by the supervisor's thread.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping

import msgspec
import structlog

from ipc.child import ChildSettings
from launcher.errors import LauncherError
from launcher.pipe_words import Accept, Stop
from launcher.planned_restarts import Abandon, PlannedRestarts, Prepare, Replace, SpawnSuccessor
from launcher.policy_types import Child, State
from launcher.process import ChildProcess, ExitStatus
from launcher.process_table import ProcessTable
from launcher.spares import SpareBook
from launcher.spec import ChildSpec
from launcher.stages import Stage

_log = structlog.get_logger()


class Means(msgspec.Struct, frozen=True, kw_only=True):
    """What the reserve works with. `children` are the states as the policy has them; `replace` restarts a child."""

    specs: Mapping[str, ChildSpec]
    children: Mapping[str, Child]
    processes: ProcessTable
    settings: Callable[[str], ChildSettings]
    replace: Callable[[str], None]
    keeps_spares: bool


class Reserve:
    """Keeps spares, where they are kept, and carries out planned restarts."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self._book = SpareBook()
        self._restarts = PlannedRestarts(name for name, spec in means.specs.items() if spec.prepares)

    def deadline_s(self, now: float) -> float | None:
        """Return when the reserve next wants to hear of the time."""
        children, spares = self._means.children, self._stages()
        deadlines = [self._restarts.deadline_s, self._book.deadline_s(children, spares, now)]
        return min((deadline_s for deadline_s in deadlines if deadline_s is not None), default=None)

    @property
    def is_restarting(self) -> bool:
        """Whether a planned restart is still to come, or under way."""
        return self._restarts.is_under_way

    def plan_restarts(self, names: Iterable[str]) -> None:
        """Have children restarted, one after the other. One that has yet to be started is going to be, in its turn."""
        for name in names:
            if self._means.children[name].state is not State.STOPPED:
                self._restarts.add(name)

    def tend(self, now: float) -> bool:
        """Do the next thing that there is to do; False when there is nothing."""
        step = self._restarts.next_step(self._means.children, self._stages(), now)
        match step:
            case SpawnSuccessor(name):
                self._means.processes.discard_spare(name)
                self.spawn(name, now, is_successor=True)
            case Prepare(name):
                self._prepare(name)
            case Replace(name):
                self._means.replace(name)
            case Abandon(name, reason):
                self._abandon(name, reason)
            case None:
                return self._tend_spares(now)
        return True

    def spawn(self, name: str, now: float, *, is_successor: bool = False) -> None:
        """Spawn a spare. One that cannot be had is a spare that has failed."""
        try:
            self._means.processes.spawn(self._means.specs[name], is_successor=is_successor)
        except (OSError, LauncherError) as error:
            self._failed(name, f"cannot be spawned: {error}", now)
        else:
            self._book.note_spawn(name, now)

    def advanced(self, spare: ChildProcess, now: float) -> None:
        """Take note that a spare has come further."""
        if spare.stage is Stage.IMPORTED:
            self._book.note_import(spare.name, now)
            is_spare = self._means.children[spare.name].state is not State.STOPPED  # else it waits for its first start
            if is_spare and not self._restarts.is_waiting_for(spare.name):
                _log.info("spare_ready", child=spare.name, child_pid=spare.pid)
        else:
            _log.info("successor_ready", child=spare.name, child_pid=spare.pid)

    def released(self, name: str) -> None:
        """Let the successor of a child take connections, where there is one: its predecessor takes no more."""
        successor = self._means.processes.spare(name)
        if successor is not None and successor.stage is Stage.PREPARED:
            successor.command(Accept())
            successor.stage = Stage.ACCEPTING

    def exited(self, spare: ChildProcess, status: ExitStatus, now: float) -> None:
        """Take note that a process in waiting died, which is no crash of its child."""
        say = _log.info if status.exit_code == 0 else _log.warning
        say("spare_exited", child=spare.name, child_pid=spare.pid, exit_code=status.exit_code, signal=status.signal)
        self._failed(spare.name, spare.setup_failure or status.words, now)

    def dissolve(self, *, kills_all: bool = False) -> None:
        """Plan nothing any more, and end every process in waiting. One that has requests to answer may do so."""
        self._restarts.clear()
        processes = self._means.processes
        for name in self._means.specs:
            spare = processes.spare(name)
            if spare is not None and spare.stage is Stage.ACCEPTING and not kills_all:
                spare.command(Stop())
            else:
                processes.discard_spare(name)

    def _stages(self) -> dict[str, Stage]:
        spares = {name: self._means.processes.spare(name) for name in self._means.specs}
        return {name: spare.stage for name, spare in spares.items() if spare is not None}

    def _tend_spares(self, now: float) -> bool:
        children, stages = self._means.children, self._stages()
        if (name := self._book.overdue(children, stages, now)) is not None:
            self._means.processes.discard_spare(name)
            self._failed(name, f"not imported within {children[name].limits.start_timeout_s:g} s", now)
            return True
        if not self._means.keeps_spares:
            return False
        if (name := self._book.wanted(children, stages, now)) is None:
            return False
        self.spawn(name, now)
        return True

    def _prepare(self, name: str) -> None:
        if successor := self._means.processes.spare(name):
            _log.info("successor_begun", child=name, child_pid=successor.pid)
            successor.prepare(self._means.settings(name))

    def _failed(self, name: str, reason: str, now: float) -> None:
        delay_s = self._book.note_death((name, self._means.children[name]), now, random.random())  # noqa: S311
        if self._restarts.is_waiting_for(name):
            self._abandon(name, self._restarts.abandon(f"its successor failed: {reason}").reason)
        elif self._means.keeps_spares:
            _log.warning("spare_failed", child=name, reason=reason, next_in_s=round(delay_s, 3))

    def _abandon(self, name: str, reason: str) -> None:
        _log.error("restart_abandoned", child=name, reason=reason)
        self._means.processes.discard_spare(name)
