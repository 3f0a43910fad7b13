"""The guard: a tiny process that outlives a launcher which is killed, to kill what that leaves behind.

The kernel ends the children with the launcher (`leash`), but not what the children have started, and not a child that
is not fastened yet. The guard holds the reading end of a pipe that ends with the launcher, and shares its locks: the
next launcher waits until it is done. Owns that process. Used by the main thread.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import structlog

from launcher import sweep
from launcher.handover import InheritedFd

_PR_SET_PDEATHSIG = 1
_prctl = ctypes.CDLL(None).prctl  # looked up here, since between fork and exec as little as possible should happen
_STABLE_S = 1.0
_MAX_QUICK_DEATHS = 5
_EFFECT = "a launcher that is killed may leave grandchildren behind"
_log = structlog.get_logger()


class Guard:
    """Starts the guard again when somebody kills it; it has nothing to do before the end."""

    def __init__(self, marks: range, locks: tuple[InheritedFd, ...]) -> None:
        self._marks = marks
        self._locks = locks
        self._descriptors: dict[int, Callable[[], None]] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._death: int | None = None
        self._started_s = 0.0
        self._quick_deaths = 0

    def start(self) -> None:
        """Start the process. Returns before it is ready: it finds out about an end that it has missed."""
        self._started_s = time.monotonic()
        program = [sys.executable, "-I", "-S", os.path.abspath(sweep.__file__), str(os.getpid())]
        try:
            self._process = subprocess.Popen(
                [*program, str(self._marks.start), str(self._marks.stop)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                start_new_session=True,  # what is sent to our process group or terminal is not for it
                pass_fds=[lock.fileno() for lock in self._locks],
                preexec_fn=_wake_at_the_end,
            )
        except OSError as error:
            _log.error("guard_lost", reason=str(error), effect=_EFFECT)
            return
        self._death = _open_pidfd(self._process.pid)
        self._register()

    def watch(self, descriptors: dict[int, Callable[[], None]]) -> None:
        """Be called, through `descriptors`, when the guard dies."""
        self._descriptors = descriptors
        self._register()

    def stop(self, timeout_s: float) -> None:
        """Let it go. There must be nothing left that it could kill."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGCONT)  # somebody may have stopped it
        try:
            self._process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._reap()

    def _register(self) -> None:
        if self._death is not None:
            self._descriptors[self._death] = self._on_death

    def _on_death(self) -> None:
        if self._death is None or self._process is None or self._process.poll() is None:
            return  # a late call, about a descriptor that was another's
        self._reap()
        uptime_s = round(time.monotonic() - self._started_s, 3)
        self._quick_deaths = self._quick_deaths + 1 if uptime_s < _STABLE_S else 0
        if self._quick_deaths >= _MAX_QUICK_DEATHS:
            _log.error("guard_lost", reason=f"died {_MAX_QUICK_DEATHS} times at once", effect=_EFFECT)
            return
        self.start()
        _log.warning("guard_restarted", uptime_s=uptime_s)

    def _reap(self) -> None:
        if self._process is not None:
            self._process.communicate()
        if self._death is not None:
            self._descriptors.pop(self._death, None)
            os.close(self._death)
        self._process = self._death = None


def _wake_at_the_end() -> None:
    """Have the launcher's death continue the guard: somebody may have stopped the whole tree, its guard too."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGCONT)


def _open_pidfd(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return None  # then nobody notices if it is killed
