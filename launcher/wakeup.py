"""The pipe that wakes the supervisor: signals and commands of other threads arrive through it.

Owns the pipe, the signal handlers and the queue of commands. `post` may be called from any thread; everything else
is the main thread's. A signal handler here does nothing: the interpreter itself writes the signal's number.
"""

from __future__ import annotations

import os
import signal
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_READ_BYTES = 4096
_HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Wakeup:
    """A queue with a file descriptor, which signals go into as well."""

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)
        self._commands: deque[Any] = deque()

    def fileno(self) -> int:
        """Readable when there is something to `take`."""
        return self._reader

    def post(self, command: Any) -> None:
        """Queue a command and wake the supervisor."""
        self._commands.append(command)
        try:
            os.write(self._writer, b"\0")
        except (BlockingIOError, OSError):
            pass  # full: it is about to wake; closed: there is nobody to wake

    def take(self) -> tuple[list[signal.Signals], list[Any]]:
        """Return the signals and the commands that have come since the last call."""
        try:
            data = os.read(self._reader, _READ_BYTES)
        except BlockingIOError:
            data = b""
        commands = []
        while self._commands:
            commands.append(self._commands.popleft())
        return [signal.Signals(number) for number in data if number], commands

    @contextmanager
    def catching_signals(self) -> Iterator[None]:
        """Have SIGINT, SIGTERM, SIGHUP and SIGCHLD arrive here; SIGHUP not under nohup. Afterwards they are ignored."""
        # SIGINT is taken even where it came ignored, as it does for a shell's background jobs: `kill -INT` is meant.
        is_nohup = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        # SIGCHLD tells that an orphan which has become our child is dead.
        handled = (*_HANDLED, signal.SIGCHLD)
        wanted = [number for number in handled if not (is_nohup and number is signal.SIGHUP)]
        sigchld = signal.getsignal(signal.SIGCHLD)
        for number in wanted:
            signal.signal(number, _do_nothing)
        old_descriptor = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        let_signals_in()  # run.py has held them back
        try:
            yield
        finally:
            signal.set_wakeup_fd(old_descriptor)
            for number in _HANDLED:
                # What was asked for has been done: a late Ctrl-C is not to end the interpreter's end with a traceback.
                signal.signal(number, signal.SIG_IGN)
            signal.signal(signal.SIGCHLD, sigchld)

    def close(self) -> None:
        """Close the pipe."""
        reader, self._reader = self._reader, -1
        writer, self._writer = self._writer, -1
        os.close(reader)
        os.close(writer)


def let_signals_in() -> None:
    """Have the signals act that were held back while the program was being loaded."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDLED)


def _do_nothing(_signal: int, _frame: object) -> None:
    """Keep the signal from its default action; the wake-up descriptor tells the loop."""
