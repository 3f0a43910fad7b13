"""Ends what is left of a launcher that was killed and that nobody has ended: the last resort of the next launcher.

There is one known case: a guard that somebody stopped in the moment of its birth, before the kernel was asked to
continue it, and whose launcher was killed then. Owns the finding and killing. Runs on the main thread, before anything
is bound.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

STATE_LOCK = "launcher.lock"
"""The name of the lock in a state directory: only a launcher and its processes ever hold one."""


def end_holders(path: str) -> list[int]:
    """Kill every process that shares the lock on `path` and belongs to a launcher; return the pids.

    The launcher itself must be dead: whoever calls has to know that.
    """
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [pid for pid in pids if pid != os.getpid() and _kill_holder(pid, os.path.realpath(path))]


def _kill_holder(pid: int, path: str) -> bool:
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        return False
    try:
        # Asked after the pidfd was opened, so that it cannot be another process's answer.
        held = _locked_files(pid)
        if path not in held or STATE_LOCK not in {Path(file).name for file in held}:
            return False
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        return True
    except OSError:
        return False  # gone meanwhile, or another user's
    finally:
        os.close(descriptor)


def _locked_files(pid: int) -> set[str]:
    """Return the files that a process holds locked, alone or with others that inherited the descriptor."""
    found = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            if "FLOCK" in Path(f"/proc/{pid}/fdinfo/{entry.name}").read_text():
                found.add(str(entry.readlink()))
        except OSError:
            continue  # closed meanwhile
    return found
