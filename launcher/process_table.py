"""The child processes that exist, and what their descriptors have to say.

Owns every ChildProcess between its spawn and its reaping, and the descriptors that the loop waits on. Must not know
restarts or states: it reports readiness and deaths to whoever decides. Used by the supervisor's thread alone.

A child is acted by one process. Beside it there may be a spare, which becomes the child when it is promoted, and
processes that have been discarded and are about to die.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from multiprocessing.connection import wait
from typing import Protocol

import msgspec

from launcher.descendants import Descendants
from launcher.handover import InheritedFd
from launcher.log_events import Origin
from launcher.logs import LogPipeline
from launcher.pipe_words import Notice, Prepared, Ready, Released, SetupFailed, Spawned
from launcher.process import ChildProcess, ExitStatus, Handed
from launcher.sockets import ServerSockets
from launcher.spec import ChildSpec
from launcher.stages import Stage


class Reports(Protocol):
    """Who is told what happens to the processes."""

    def child_ready(self, process: ChildProcess) -> None:
        """A child said that it does its work."""

    def child_released(self, process: ChildProcess) -> None:
        """A child said that it takes no more connections."""

    def child_exited(self, process: ChildProcess, status: ExitStatus) -> None:
        """The process of a child is gone; it is in the table no more."""

    def spare_advanced(self, process: ChildProcess) -> None:
        """A spare has come to its next stage."""

    def spare_exited(self, process: ChildProcess, status: ExitStatus) -> None:
        """A spare is gone that had not been discarded."""


class Supplies(msgspec.Struct, frozen=True, kw_only=True):
    """What children are given at birth."""

    locks: tuple[InheritedFd, ...]
    sockets: ServerSockets
    descendants: Descendants
    log_level: str


class ProcessTable:
    """At most one acting process and one spare per child."""

    def __init__(self, supplies: Supplies, logs: LogPipeline, reports: Reports) -> None:
        self._supplies = supplies
        self._logs = logs
        self._reports = reports
        self._processes: set[ChildProcess] = set()
        self._acting: dict[str, ChildProcess] = {}
        self._spares: dict[str, ChildProcess] = {}
        self.descriptors: dict[int, Callable[[], None]] = {}
        """What to wait for, and what to call when it is readable. A late call does no harm."""

    def __bool__(self) -> bool:
        return bool(self._processes)

    def get(self, name: str) -> ChildProcess | None:
        """Return the process that acts as a child, if there is one."""
        return self._acting.get(name)

    def spare(self, name: str) -> ChildProcess | None:
        """Return the process that waits to become a child, if there is one."""
        return self._spares.get(name)

    def spare_pids(self) -> dict[str, int]:
        """Return the pid of each child's spare."""
        return {name: spare.pid for name, spare in self._spares.items()}

    def all(self) -> tuple[ChildProcess, ...]:
        """Return every process."""
        return tuple(self._processes)

    def promote(self, spec: ChildSpec) -> ChildProcess | None:
        """Make the spare of a child act as it; None if there is no spare that could."""
        spare = self._spares.get(spec.name)
        if spare is None:
            return None
        if spare.is_dead():
            self._on_death(spare)  # now: killed together with the child, it would count as a second crash
            return None
        is_idle = spare.stage < Stage.PREPARING  # else it may have requests to answer
        if spare.is_suspended() or (is_idle and spec.takes_sockets and self._supplies.sockets.is_lost):
            self.discard_spare(spec.name)
            return None
        return self.act(spec.name)

    def act(self, name: str) -> ChildProcess:
        """Make the spare of a child act as it, whatever state the spare is in."""
        process = self._acting[name] = self._spares.pop(name)
        return process

    def discard_spare(self, name: str) -> None:
        """Kill the spare of a child, which from now on is none."""
        if spare := self._spares.pop(name, None):
            spare.send_signal("SIGKILL")  # it has done nothing yet that it could finish

    def spawn(self, spec: ChildSpec, *, is_successor: bool = False) -> None:
        """Bring a spare to life: it imports its code and waits for go. Raises SettingsError or OSError.

        One that is about to act gets a data plane that clients can find. A spare has that of the server that works.
        """
        supplies, sockets = self._supplies, self._supplies.sockets
        if spec.takes_sockets:
            sockets.open()
            if is_successor or spec.name not in self._acting:
                sockets.replace_lost()
        process = ChildProcess(
            spec.name,
            Handed(
                entry=spec.entry,
                prepares=spec.prepares,
                log_level=supplies.log_level,
                locks=supplies.locks,
                listener=sockets.listener if spec.takes_sockets else None,
                http_socket=sockets.http if spec.takes_sockets else None,
            ),
            supplies.descendants,
        )
        self._processes.add(process)
        self._spares[spec.name] = process
        self.descriptors[process.death] = partial(self._on_death, process)
        self.descriptors[process.notices] = partial(self._on_notices, process)
        self.descriptors[process.log] = partial(self._on_log, process)

    def kill_all(self, timeout_s: float) -> None:
        """Kill what is left and reap what dies within `timeout_s`. For the way out, also after an error."""
        for process in self.all():
            process.send_signal("SIGKILL")
        while self._processes and (dead := wait([process.death for process in self.all()], timeout_s)):
            for process in self.all():
                if process.death in dead:
                    self._remove(process)

    def _on_notices(self, process: ChildProcess) -> None:
        if self._is_gone(process):
            return
        for notice in process.read_notices():
            self._on_notice(process, notice)
        self._forget_if_closed(process, process.notices)

    def _on_notice(self, process: ChildProcess, notice: Notice) -> None:
        is_acting = self._acting.get(process.name) is process
        match notice:
            case SetupFailed(reason):
                process.setup_failure = reason
            case Ready() if is_acting:
                self._reports.child_ready(process)
            case Released() if is_acting:
                self._reports.child_released(process)
            case Spawned() | Prepared() if self._spares.get(process.name) is process:
                process.stage = Stage.IMPORTED if isinstance(notice, Spawned) else Stage.PREPARED
                self._reports.spare_advanced(process)

    def _on_log(self, process: ChildProcess) -> None:
        if self._is_gone(process):
            return
        self._logs.child_lines(Origin(process.name, process.pid), process.read_log())
        self._forget_if_closed(process, process.log)

    def _on_death(self, process: ChildProcess) -> None:
        if self._is_gone(process):
            return
        self._on_notices(process)
        is_acting = self._acting.get(process.name) is process
        is_spare = self._spares.get(process.name) is process
        status = self._remove(process)
        if is_acting:
            self._reports.child_exited(process, status)
        elif is_spare:
            self._reports.spare_exited(process, status)

    def _remove(self, process: ChildProcess) -> ExitStatus:
        self._logs.child_lines(Origin(process.name, process.pid), process.last_words(), are_last=True)
        status = process.reap()
        self._supplies.descendants.bury(process.mark)
        for descriptor in (process.death, process.notices, process.log):
            self.descriptors.pop(descriptor, None)
        process.close()
        self._processes.remove(process)
        for roles in (self._acting, self._spares):
            if roles.get(process.name) is process:
                del roles[process.name]
        return status

    def _is_gone(self, process: ChildProcess) -> bool:
        """Whether this is a late call: the numbers of its descriptors may be its successor's by now."""
        return process not in self._processes

    def _forget_if_closed(self, process: ChildProcess, descriptor: int) -> None:
        if not process.is_open(descriptor):
            self.descriptors.pop(descriptor, None)
