"""The child processes that exist, and what their descriptors have to say.

Owns every ChildProcess between its spawn and its reaping, and the descriptors that the loop waits on. Must not know
restarts or states: it reports readiness and deaths to whoever decides. Used by the supervisor's thread alone.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from multiprocessing.connection import wait
from typing import Protocol

import msgspec

from launcher.descendants import Descendants
from launcher.handover import InheritedFd
from launcher.logs import LogPipeline, Origin
from launcher.pipe_words import Ready, SetupFailed
from launcher.process import ChildProcess, ExitStatus, Handed
from launcher.sockets import ServerSockets
from launcher.spec import ChildSpec


class Reports(Protocol):
    """Who is told what happens to the processes."""

    def child_ready(self, process: ChildProcess) -> None:
        """A child said that it does its work."""

    def child_exited(self, process: ChildProcess, status: ExitStatus) -> None:
        """A process is gone; it is in the table no more."""


class Supplies(msgspec.Struct, frozen=True, kw_only=True):
    """What children are given at birth."""

    locks: tuple[InheritedFd, ...]
    sockets: ServerSockets
    descendants: Descendants
    log_level: str


class ProcessTable:
    """At most one process per child."""

    def __init__(self, supplies: Supplies, logs: LogPipeline, reports: Reports) -> None:
        self._supplies = supplies
        self._logs = logs
        self._reports = reports
        self._processes: dict[str, ChildProcess] = {}
        self.descriptors: dict[int, Callable[[], None]] = {}
        """What to wait for, and what to call when it is readable. A late call does no harm."""

    def __bool__(self) -> bool:
        return bool(self._processes)

    def get(self, name: str) -> ChildProcess | None:
        """Return the process of a child, if there is one."""
        return self._processes.get(name)

    def all(self) -> tuple[ChildProcess, ...]:
        """Return every process."""
        return tuple(self._processes.values())

    def spawn(self, spec: ChildSpec) -> ChildProcess:
        """Bring a process to life that imports its code and waits for go. Raises SettingsError or OSError."""
        supplies, sockets = self._supplies, self._supplies.sockets
        if spec.takes_sockets:
            sockets.open()
        process = ChildProcess(
            spec.name,
            Handed(
                entry=spec.entry,
                log_level=supplies.log_level,
                locks=supplies.locks,
                listener=sockets.listener if spec.takes_sockets else None,
                http_socket=sockets.http if spec.takes_sockets else None,
            ),
            supplies.descendants,
        )
        self._processes[spec.name] = process
        self.descriptors[process.death] = partial(self._on_death, process)
        self.descriptors[process.notices] = partial(self._on_notices, process)
        self.descriptors[process.log] = partial(self._on_log, process)
        return process

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
            if isinstance(notice, Ready):
                self._reports.child_ready(process)
            elif isinstance(notice, SetupFailed):
                process.setup_failure = notice.reason
        self._forget_if_closed(process, process.notices)

    def _on_log(self, process: ChildProcess) -> None:
        if self._is_gone(process):
            return
        self._logs.child_lines(Origin(process.name, process.pid), process.read_log())
        self._forget_if_closed(process, process.log)

    def _on_death(self, process: ChildProcess) -> None:
        if self._is_gone(process):
            return
        self._on_notices(process)
        self._reports.child_exited(process, self._remove(process))

    def _remove(self, process: ChildProcess) -> ExitStatus:
        self._logs.child_lines(Origin(process.name, process.pid), process.last_words())
        status = process.reap()
        self._supplies.descendants.bury(process.mark)
        for descriptor in (process.death, process.notices, process.log):
            self.descriptors.pop(descriptor, None)
        process.close()
        del self._processes[process.name]
        return status

    def _is_gone(self, process: ChildProcess) -> bool:
        """Whether this is a late call: the numbers of its descriptors may be its successor's by now."""
        return self._processes.get(process.name) is not process

    def _forget_if_closed(self, process: ChildProcess, descriptor: int) -> None:
        if not process.is_open(descriptor):
            self.descriptors.pop(descriptor, None)
