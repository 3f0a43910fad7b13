"""Watches the pulses of the children that are ready.

Owns what `watchdog` needs to know of each: its pulse, and what the kernel says of its threads. Must not know what is
done about a child that hangs. Used by the supervisor's thread alone.
"""

from __future__ import annotations

from pathlib import Path

from launcher.process import ChildProcess, is_stopped
from launcher.watchdog import Load, Watch, begin, look


class HangWatch:
    """A child is watched from `begin` on; a limit of 0 means that none is."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._processes: dict[str, ChildProcess] = {}
        self._watches: dict[str, Watch] = {}
        self._ready: set[str] = set()

    @property
    def deadline_s(self) -> float | None:
        """When `hung` next has something to do."""
        return min((watch.due_s for watch in self._watches.values()), default=None)

    def begin(self, process: ChildProcess, now: float, *, is_ready: bool = True) -> None:
        """Watch a child that has just been started, or become ready, instead of the process that was it before."""
        if self._limit_s:
            self._processes[process.name] = process
            self._watches[process.name] = begin(self._limit_s, now)
            (self._ready.add if is_ready else self._ready.discard)(process.name)

    def end(self, process: ChildProcess) -> None:
        """Watch it no more; one that is not watched is left alone."""
        if self._processes.get(process.name) is process:
            del self._processes[process.name], self._watches[process.name]

    def hung(self, now: float) -> list[tuple[ChildProcess, str]]:
        """Return the children that hang, with the reason in words; they are watched no more."""
        due = [self._processes[name] for name, watch in self._watches.items() if watch.due_s <= now]
        return [(process, self._reason(process)) for process in due if self._hangs(process, now)]

    def _hangs(self, process: ChildProcess, now: float) -> bool:
        beat_s = process.pulse.last_s() if process.name in self._ready else None
        if beat_s is None:
            # It has not promised to beat yet, and hangs only if somebody has stopped it.
            beat_s = self._watches[process.name].heard_s if is_stopped(process.pid) else now
        self._watches[process.name], is_hung = look(self._watches[process.name], beat_s, _load(process.pid), now)
        if is_hung:
            self.end(process)
        return is_hung

    def _reason(self, process: ChildProcess) -> str:
        reason = f"no heartbeat for {self._limit_s:g} s"
        return f"{reason}: the process is stopped" if is_stopped(process.pid) else reason


def _load(pid: int) -> Load:
    run_ns = waited_ns = 0
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            run, waited, _slices = (task / "schedstat").read_text().split()
            run_ns, waited_ns = run_ns + int(run), waited_ns + int(waited)
    except (OSError, ValueError):
        pass  # it has just died, or the kernel does not count: then nobody is taken for starved
    return Load(run_ns / 1e9, waited_ns / 1e9)
