"""The processes that children start: each belongs to the child that it descends from, and goes with it.

Owns the marks (`sweep` says what a mark is), the launcher's place as the reaper of orphans, and their end. Must not
know what a child is for. Used by the supervisor's thread alone, which is the only one that spawns.
"""

from __future__ import annotations

import ctypes
import os
import resource
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import structlog

from launcher.sweep import MARK_BITS, kill_marked, mark_of, sweep

_RLIMIT_LOCKS = 10  # Linux's number; `resource` has no name for it, as the kernel has no use for it
_RANDOM_BITS = 38  # with MARK_BITS, less than the 63 that `resource` takes
_PR_SET_CHILD_SUBREAPER = 36
_log = structlog.get_logger()


class Descendants:
    """Marks each child at its birth; kills and reaps what carries its mark once it is dead."""

    def __init__(self) -> None:
        self._shared = (secrets.randbits(_RANDOM_BITS) + 1) << MARK_BITS
        self._count = 0
        self._children: dict[int, int] = {}

    @property
    def marks(self) -> range:
        """Every mark of this launch."""
        return range(self._shared, self._shared + (1 << MARK_BITS))

    def become_reaper(self) -> None:
        """Have orphans of the tree become children of this process, instead of init's."""
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
        with self.shared():
            is_marked = mark_of(os.getpid()) == self._shared
        if not is_marked:
            _log.warning("descendants_unmarked", effect="what children start may outlive them")

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Mark what is started in the block as of this launch, but of no child."""
        with self._marked(self._shared):
            yield

    def start(self, process: Any) -> int:
        """Start a multiprocessing.Process; return its mark, which nothing but it and its descendants has."""
        self._count += 1
        mark = self._shared + self._count
        with self._marked(mark):
            process.start()
        self._children[mark] = process.pid
        return mark

    def bury(self, mark: int) -> None:
        """Kill what is left of a child. Call when the child itself is dead and reaped."""
        self._children.pop(mark, None)
        if pids := self.tend():
            _log.info("descendants_killed", pids=pids)

    def tend(self) -> list[int]:
        """Reap the orphans that are dead, and kill those whose child is dead; return the pids of the killed.

        Call when a child of this process has died. Each orphan's chain of parents ends here, so that no orphan among
        our children means none at all. A child is no orphan: its exit status is for whoever asks for it.
        """
        try:
            doomed = {mark for pid in _children() if (mark := self._doomed_mark(pid)) is not None}
            return [pid for mark in doomed for pid in kill_marked(range(mark, mark + 1))]
        except OSError as error:
            # No descriptor to look with. That may pass, and the next death has us look again.
            _log.warning("descendants_unseen", reason=str(error), effect="what a dead child has started lives on")
            return []

    def _doomed_mark(self, pid: int) -> int | None:
        """Return the mark of an orphan whose child is dead; reap the orphan if it is dead itself."""
        if pid in self._children.values():
            return None
        mark = mark_of(pid)
        is_orphan = mark in self.marks and mark != self._shared
        return mark if is_orphan and not _reap(pid) and mark not in self._children else None

    def sweep(self, timeout_s: float) -> bool:
        """Kill all that is left of this launch and wait for it; return whether it is gone. For the way out."""
        children = range(self.marks.start + 1, self.marks.stop)
        try:
            is_gone = sweep(children, timeout_s)
        except OSError:
            return False  # `tend` has said so; the guard has descriptors of its own
        self.tend()
        return is_gone

    @contextmanager
    def _marked(self, mark: int) -> Iterator[None]:
        before = resource.getrlimit(_RLIMIT_LOCKS)
        try:
            resource.setrlimit(_RLIMIT_LOCKS, (mark, before[1]))
        except (OSError, ValueError):
            yield  # somebody has set a hard limit; `become_reaper` has said so
            return
        try:
            yield
        finally:
            resource.setrlimit(_RLIMIT_LOCKS, before)


def _reap(pid: int) -> bool:
    """Take note of a death; False for a process that is alive."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return True  # it is no child of ours, or no more


def _children() -> list[int]:
    """Return the pids of this process's children, of all processes where the kernel does not list them.

    They are all its first thread's: that one spawns, and the kernel gives it the orphans. Every death waits for this.
    """
    try:
        with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as file:
            return [int(pid) for pid in file.read().split()]
    except OSError:
        return [int(name) for name in os.listdir("/proc") if name.isdigit()]
