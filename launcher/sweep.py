"""Finds every process that carries a mark of a launch, and kills it. Run as a program, this is the guard.

A mark is a number in a soft limit that the kernel hands from parent to child and has itself not looked at since Linux
2.4: RLIMIT_LOCKS. Unlike a parent, a session, a process group or the environment it outlives `setsid`, a double fork,
`env -i` and an exec, and it is there from the first moment of a process. Anybody may read it in /proc/<pid>/limits.

Imports nothing of ours, since the guard starts without our packages. The guard is a single thread.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time

MARK_BITS = 24
"""A launch has this many bits' worth of marks, in a row: one for each process that it will ever spawn."""

_FIELD = b"Max file locks"
_GUARD_TIMEOUT_S = 5.0
_ROUND_S = 0.05  # a process that cannot die yet holds up the next look at the others for no longer
_MAX_LOOKS = 200
_CLEAN_LOOKS = 2


def mark_of(pid: int) -> int:
    """Return the mark of a process, also of a zombie; 0 without one, and for a process that is gone."""
    try:
        with open(f"/proc/{pid}/limits", "rb") as file:
            fields = file.read().partition(_FIELD)[2].split(None, 1)
    except OSError:
        return 0
    return int(fields[0]) if fields and fields[0].isdigit() else 0


def kill_marked(marks: range) -> list[int]:
    """Send SIGKILL to every process with one of `marks`, to those too that come to be meanwhile; return the pids."""
    killed: list[int] = []
    seen: set[int] = set()
    clean_looks = 0
    for _look in range(_MAX_LOOKS):
        clean_looks += 1
        for pid in _pids():
            if pid in seen or mark_of(pid) not in marks:
                continue
            seen.add(pid)
            clean_looks = 0
            if _kill(pid, marks):
                killed.append(pid)
        # Once is not enough: a process that was listed may have forked and left before anybody looked at it.
        if clean_looks == _CLEAN_LOOKS:
            break
    return killed


def sweep(marks: range, timeout_s: float) -> bool:
    """Kill every process with one of `marks` and wait for the deaths; return whether none is left."""
    deadline_s = time.monotonic() + timeout_s
    while killed := kill_marked(marks):
        _wait(killed, min(deadline_s, time.monotonic() + _ROUND_S))
        if time.monotonic() >= deadline_s:
            return False
    return True


def _pids() -> list[int]:
    """Return all pids, the newest first: whoever forks to get away is met before it has done so."""
    return sorted((int(name) for name in os.listdir("/proc") if name.isdigit()), reverse=True)


def _kill(pid: int, marks: range) -> bool:
    """Kill a process; False if it is not ours after all, or dead."""
    if pid == os.getpid():
        return False
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        return False
    try:
        # Only now is it sure whose mark this is: before, the pid may have passed to a stranger.
        if mark_of(pid) not in marks or _is_dead(descriptor, 0):
            return False
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        return True
    except OSError:
        return False  # it has just died, or has become another user's
    finally:
        os.close(descriptor)


def _wait(pids: list[int], until_s: float) -> None:
    for pid in pids:
        try:
            descriptor = os.pidfd_open(pid)
        except OSError:
            continue
        _is_dead(descriptor, max(0.0, until_s - time.monotonic()))
        os.close(descriptor)


def _is_dead(descriptor: int, within_s: float) -> bool:
    return bool(select.select([descriptor], [], [], within_s)[0])


def guard(launcher_pid: int, marks: range) -> None:
    """Wait on stdin for the end of the launcher, then kill what it has left behind."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # a service manager stops every process; we go last
    if os.getppid() == launcher_pid:
        os.read(0, 1)
    sweep(marks, _GUARD_TIMEOUT_S)


if __name__ == "__main__":
    guard(int(sys.argv[1]), range(int(sys.argv[2]), int(sys.argv[3])))
