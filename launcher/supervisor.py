"""The loop: sees what happens to the children, asks the policy, does what it says.

Owns the course of one launch, from the first start to the last exit. Must not know why a rule is as it is (`policy`,
`order`), what a log line looks like (`logs`) or how a child is spawned (`process`). Runs on the main thread, which
waits for nothing but `wait`; other threads reach it through the wake-up pipe alone.
"""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable
from multiprocessing.connection import wait
from typing import cast

import msgspec
import structlog

from ipc.child import EXIT_SETUP, ChildSettings
from launcher.control import RestartChildren, StopAll
from launcher.crash_report import Death
from launcher.errors import EXIT_GAVE_UP, EXIT_OK, LauncherError
from launcher.guard import Guard
from launcher.hang_watch import HangWatch
from launcher.logs import LogPipeline
from launcher.order import STOP_TIMEOUT_S, kill_at_s, next_to_start, next_to_stop
from launcher.pipe_words import Stop
from launcher.policy_types import (
    Action,
    BecameReady,
    Event,
    Exited,
    FellSilent,
    GiveUp,
    KillRequested,
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
from launcher.process import ChildProcess, ExitStatus
from launcher.process_table import ProcessTable, Supplies
from launcher.reserve import Means, Reserve
from launcher.roster import Roster
from launcher.sd_notify import Notifier
from launcher.spec import ChildSpec
from launcher.status import Snapshot
from launcher.wakeup import Wakeup

_log = structlog.get_logger()
_LAST_KILL_S = 1.0


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    """All that the supervisor works with."""

    specs: tuple[ChildSpec, ...]
    child_settings: ChildSettings
    supplies: Supplies
    guard: Guard
    exit_on_fatal: bool
    keeps_spares: bool
    hang_after_s: float
    logs: LogPipeline
    wakeup: Wakeup
    publish: Callable[[Snapshot], None]
    service: Notifier
    note_death: Callable[[Death], None]
    first: Snapshot


class Supervisor:
    """Runs the children of one launch until it is over."""

    def __init__(self, launch: Launch) -> None:
        self._launch = launch
        self._specs = {spec.name: spec for spec in launch.specs}
        self._roster = Roster(launch.specs)
        self._hangs = HangWatch(launch.hang_after_s)
        self._processes = ProcessTable(launch.supplies, launch.logs, self)
        self._processes.descriptors[launch.wakeup.fileno()] = self._on_wakeup
        launch.guard.watch(self._processes.descriptors)
        self._reserve = Reserve(
            Means(
                specs=self._specs,
                children=self._roster.children,
                processes=self._processes,
                settings=self._settings,
                replace=self._replace,
                keeps_spares=launch.keeps_spares,
            )
        )
        self._stop_by_s: float | None = None
        self._is_announced = False
        self._exit_code = EXIT_OK

    def run(self) -> int:
        """Start the children, keep them running, stop them when asked; return the exit code."""
        try:
            self._spawn_all()
            self._settle()
            while self._stop_by_s is None or self._processes:
                descriptors = self._processes.descriptors
                # Looked up before any of them runs: a callback may close a descriptor and open one of the same number.
                for callback in [descriptors[descriptor] for descriptor in self._wait()]:
                    callback()
                for process, reason in self._hangs.hung(time.monotonic()):
                    if self._processes.get(process.name) is process:
                        self._feed(process.name, FellSilent(reason))
                for name in self._roster.due(time.monotonic()):
                    self._feed(name, Ticked())
                self._settle()
                self._launch.service.tick(time.monotonic())
        finally:
            self._processes.kill_all(_LAST_KILL_S)
            self._launch.supplies.descendants.sweep(_LAST_KILL_S)
        return self._exit_code

    def _wait(self) -> list[int]:
        """Wait for something to happen; return the descriptors that are ready, first the one that wakes us.

        Whoever tells us to stop may tell the children as well, and a signal is seen only after the wait that it ended:
        without a second look a child that was quick would have crashed.
        """
        ready = cast("list[int]", wait(list(self._processes.descriptors), self._timeout_s()))
        wakeup = self._launch.wakeup.fileno()
        if ready and wakeup not in ready and wait([wakeup], 0):
            ready.insert(0, wakeup)
        return ready

    def _timeout_s(self) -> float | None:
        now = time.monotonic()
        deadlines = [self._roster.deadline_s, self._launch.service.deadline_s, self._hangs.deadline_s]
        if self._stop_by_s is None:
            deadlines.append(self._reserve.deadline_s(now))
        elif now < self._stop_by_s:
            deadlines.append(self._stop_by_s)
        return min((max(0.0, deadline_s - now) for deadline_s in deadlines if deadline_s is not None), default=None)

    # What happens.

    def child_ready(self, process: ChildProcess) -> None:
        """Take a child for running. Called by the process table."""
        if self._roster.children[process.name].state is not State.STARTING:
            return
        start_s = round(time.monotonic() - process.started_s, 3)
        _log.info("child_ready", child=process.name, child_pid=process.pid, start_s=start_s)
        self._hangs.begin(process, time.monotonic())
        self._feed(process.name, BecameReady())

    def child_released(self, process: ChildProcess) -> None:
        """Let the successor take connections, where there is one. Called by the process table."""
        self._hangs.end(process)  # it only finishes what it has, and its stop has a deadline
        self._reserve.released(process.name)

    def spare_advanced(self, process: ChildProcess) -> None:
        """Note that a spare is warm, or a successor prepared. Called by the process table."""
        self._reserve.advanced(process, time.monotonic())

    def spare_exited(self, process: ChildProcess, status: ExitStatus) -> None:
        """Note the death of a process that was not its child yet. Called by the process table."""
        if self._stop_by_s is not None:
            return
        if self._roster.children[process.name].state is State.STOPPED:
            # The first of its kind: what it died of is what the child would die of.
            self.child_exited(process, status)
        else:
            self._launch.note_death(
                Death(
                    child=process.name,
                    child_pid=process.pid,
                    exit_code=status.exit_code,
                    signal=status.signal,
                    uptime_s=round(time.monotonic() - process.started_s, 3),
                    was_waiting=True,
                )
            )
            self._reserve.exited(process, status, time.monotonic())

    def child_exited(self, process: ChildProcess, status: ExitStatus) -> None:
        """Log a death and let the policy judge it. Called by the process table."""
        self._hangs.end(process)
        name, uptime_s = process.name, round(time.monotonic() - process.started_s, 3)
        child = self._roster.children[name]
        was_expected = not child.is_hung and (self._stop_by_s is not None or child.state is State.STOPPING)
        (_log.info if was_expected or status.exit_code == 0 else _log.warning)(
            "child_exited",
            child=name,
            child_pid=process.pid,
            exit_code=status.exit_code,
            signal=status.signal,
            uptime_s=uptime_s,
        )
        self._launch.note_death(
            Death(
                child=name,
                child_pid=process.pid,
                exit_code=status.exit_code,
                signal=status.signal,
                uptime_s=uptime_s,
                was_asked_to_stop=was_expected or (child.quits_tree and status.exit_code == 0),
                hung=child.reason if child.is_hung else "",
            )
        )
        self._roster.note_exit(name, status, uptime_s)
        if self._stop_by_s is not None:
            # Whoever told us to stop may have told the child as well, as a service manager does: that is no crash.
            self._feed(name, StopRequested(self._stop_by_s))
        self._feed(
            name,
            Exited(
                exit_code=status.exit_code,
                signal=status.signal,
                is_setup_failure=status.exit_code == EXIT_SETUP,
                reason=process.setup_failure or status.words,
                jitter=_jitter(),
            ),
        )

    def _on_wakeup(self) -> None:
        signals, commands = self._launch.wakeup.take()
        for number in signals:
            if number != signal.SIGCHLD:
                self._on_signal(number)
        self._launch.supplies.descendants.tend()
        for command in commands:
            if isinstance(command, StopAll):
                self._stop(command.reason)
            elif isinstance(command, RestartChildren):
                self._restart(command.names)

    def _on_signal(self, number: signal.Signals) -> None:
        if number == signal.SIGHUP:
            self._launch.service.reloading()
            self._restart(tuple(self._specs))
        elif number == signal.SIGINT and self._stop_by_s is not None:
            self._reserve.dissolve(kills_all=True)
            for name in self._specs:
                self._feed(name, KillRequested())
        else:
            self._stop(number.name)

    # The tree.

    def _spawn_all(self) -> None:
        """Have all children import at the same time; each goes when it is its turn."""
        for name in self._specs:
            self._reserve.spawn(name, time.monotonic())

    def _settle(self) -> None:
        """Do what the states of the children make possible, until there is nothing left to do."""
        while self._advance() if self._stop_by_s is None else self._stop_next():
            pass
        self._roster.note_spares(self._processes.spare_pids())
        self._roster.note_restarting(is_restarting=self._reserve.is_restarting)
        if self._roster.take_change():
            snapshot = self._roster.snapshot(self._launch.first, is_stopping=self._stop_by_s is not None)
            self._launch.publish(snapshot)
        if self._roster.are_all_running and not self._is_announced:
            self._is_announced = True
            first = self._launch.first
            _log.info("launcher_ready", url=first.url, socket=first.socket, control_socket=first.control_socket)

    def _advance(self) -> bool:
        return self._start_next() or self._reserve.tend(time.monotonic())

    def _start_next(self) -> bool:
        name = next_to_start(self._roster.children, self._roster.started)
        if name is None:
            return False
        self._feed(name, StartRequested())
        return True

    def _stop_next(self) -> bool:
        """Ask the next child to stop; False when there is one to wait for, or none left."""
        children = self._roster.children
        name = next_to_stop(children)
        if self._stop_by_s is not None and time.monotonic() >= self._stop_by_s:
            self._reserve.dissolve(kills_all=True)
        if name is None or self._stop_by_s is None:
            return False
        self._feed(name, StopRequested(kill_at_s(children, self._stop_by_s, time.monotonic())))
        return True

    def _stop(self, reason: str) -> None:
        if self._stop_by_s is not None:
            return
        self._stop_by_s = time.monotonic() + STOP_TIMEOUT_S
        _log.info("shutdown_started", reason=reason, deadline_s=STOP_TIMEOUT_S)
        self._reserve.dissolve()

    def _restart(self, names: tuple[str, ...]) -> None:
        if self._stop_by_s is not None:
            return
        _log.info("restart_requested", children=list(names))
        self._reserve.plan_restarts(name for name in self._specs if name in names)

    def _replace(self, name: str) -> None:
        self._feed(name, RestartRequested())

    # What the policy wants done.

    def _feed(self, name: str, event: Event) -> None:
        for action in self._roster.apply(name, event, time.monotonic()):
            self._perform(name, action)

    def _perform(self, name: str, action: Action) -> None:
        process = self._processes.get(name)
        match action:
            case Start():
                self._go(name)
            case SendStop() if process is not None:
                process.command(Stop())
            case SendSignal(signal_name) if process is not None:
                _log.info("child_signalled", child=name, child_pid=process.pid, signal=signal_name)
                process.send_signal(signal_name)
            case ScheduleRestart(delay_s, attempt, reason):
                delay_s = round(delay_s, 3)
                _log.warning("restart_scheduled", child=name, delay_s=delay_s, attempt=attempt, reason=reason)
            case ReportHung(reason):
                child_pid = process.pid if process else None
                _log.error("child_hung", child=name, child_pid=child_pid, reason=reason)
            case GiveUp(reason):
                self._give_up(name, reason)
            case Quit():
                self._stop(f"{name} quit")

    def _go(self, name: str) -> None:
        try:
            process = self._processes.promote(self._specs[name]) or self._spawn(name)
        except LauncherError as error:
            self._feed(name, StartFailed(str(error)))
            return
        except OSError as error:
            # No memory, no descriptors: that may pass, so it counts as a crash and is tried again.
            self._feed(name, Exited(exit_code=None, reason=f"cannot be started: {error}", jitter=_jitter()))
            return
        process.go(self._settings(name))
        _log.info("child_started", child=name, child_pid=process.pid)
        self._roster.note_start(name, process.pid, process.started_s)
        self._hangs.begin(process, process.started_s, is_ready=False)

    def _spawn(self, name: str) -> ChildProcess:
        self._processes.spawn(self._specs[name])
        return self._processes.act(name)

    def _settings(self, name: str) -> ChildSettings:
        return msgspec.structs.replace(self._launch.child_settings, name=name)

    def _give_up(self, name: str, reason: str) -> None:
        self._processes.discard_spare(name)
        if self._specs[name].takes_sockets:
            # Nobody is going to accept: refuse clients rather than let them wait in the backlog.
            self._launch.supplies.sockets.close()
        _log.error("child_fatal", child=name, reason=reason)
        if self._launch.exit_on_fatal:
            self._exit_code = EXIT_GAVE_UP
            self._stop("a child was given up")


def _jitter() -> float:
    return random.random()  # noqa: S311 - spreads restarts, keeps no secret
