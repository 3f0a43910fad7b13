"""The thread in a child that listens to the launcher, and ends the child when there is no launcher any more.

Owns the command pipe's reading end, the parent's sentinel and SIGTERM's wake-up pipe. It is a thread of its own
because the main thread may sit in C code (Qt's event loop) where no Python signal handler runs. Stop callbacks are
called on it.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable
from multiprocessing.connection import wait
from typing import NoReturn

import structlog

from ipc.child import ChildSettings
from launcher.handover import InheritedFd
from launcher.lines import LineSplitter
from launcher.pipe_words import Accept, Go, Stop, Succeed, decode_command

_log = structlog.get_logger()
_READ_BYTES = 64 << 10
_LATE = b"\0"  # a callback was registered after the stop


class Lifeline:
    """Waits for go, stop, SIGTERM and the launcher's end, all at once."""

    def __init__(self, commands: InheritedFd) -> None:
        self._commands = commands
        self._splitter = LineSplitter()
        self._wake_reader, self._wake_writer = os.pipe()
        os.set_blocking(self._wake_reader, False)
        os.set_blocking(self._wake_writer, False)
        self._lock = threading.Lock()
        self._callbacks: deque[Callable[[], None]] = deque()
        self.settings: ChildSettings | None = None
        """What the launcher tells; set once it has said go."""
        self._is_stopping = False
        self._decided = threading.Event()
        self._may_accept = threading.Event()
        self._may_succeed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lifeline", daemon=True)

    def start(self) -> None:
        """Take over SIGTERM and start listening. On the main thread."""
        signal.set_wakeup_fd(self._wake_writer, warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, _do_nothing)
        self._thread.start()

    def wait_for_go(self) -> bool:
        """Wait until the launcher says go; False when it is time to stop already."""
        self._decided.wait()
        return not self._is_stopping

    def wait_to_accept(self) -> bool:
        """Wait until the predecessor takes no more connections, if there is one; False when it is time to stop."""
        self._may_accept.wait()
        return not self._is_stopping

    def wait_to_succeed(self) -> bool:
        """Wait until the predecessor is gone, if there is one; False when it is time to stop."""
        self._may_succeed.wait()
        return not self._is_stopping

    def on_stop(self, callback: Callable[[], None]) -> None:
        """Have `callback` called once on this thread when it is time to stop, at once if it already is."""
        with self._lock:
            self._callbacks.append(callback)
            is_late = self._is_stopping
        if is_late:
            self._wake()

    def _run(self) -> None:
        parent = multiprocessing.parent_process()
        sources = [self._commands.fileno(), self._wake_reader]
        if parent is not None:
            sources.append(parent.sentinel)
        while True:
            ready = wait(sources)
            if parent is not None and parent.sentinel in ready:
                _die()
            if self._commands.fileno() in ready:
                self._read_commands()
            if self._wake_reader in ready:
                self._read_wakes()

    def _read_commands(self) -> None:
        data = os.read(self._commands.fileno(), _READ_BYTES)
        if not data:
            _die()
        for line in self._splitter.feed(data):
            match decode_command(line):
                case Go(settings, is_successor):
                    self.settings = settings
                    if not is_successor:
                        self._succeed()
                    self._decided.set()
                case Accept():
                    self._may_accept.set()
                case Succeed():
                    self._succeed()
                case Stop():
                    self._stop()

    def _succeed(self) -> None:
        self._may_accept.set()
        self._may_succeed.set()

    def _read_wakes(self) -> None:
        if asks_to_stop(os.read(self._wake_reader, _READ_BYTES)):
            self._stop()

    def _stop(self) -> None:
        with self._lock:
            self._is_stopping = True
            callbacks, self._callbacks = self._callbacks, deque()
        self._decided.set()
        self._succeed()  # whoever waits finds out that it is time to stop
        for callback in callbacks:
            try:
                callback()
            except Exception:  # noqa: BLE001 - this thread's top frame: the other callbacks still have to run
                _log.exception("stop_callback_failed")

    def _wake(self) -> None:
        try:
            os.write(self._wake_writer, _LATE)
        except BlockingIOError:
            pass  # full: it is about to wake anyway


def asks_to_stop(wakes: bytes) -> bool:
    """Whether SIGTERM or a late callback is among the wakes; any signal that the application handles wakes us too."""
    return bytes([signal.SIGTERM]) in wakes or _LATE in wakes


def _do_nothing(_signal: int, _frame: object) -> None:
    """Make the interpreter write to the wake-up descriptor instead of dying."""


def _die() -> NoReturn:
    # The launcher is gone. Whoever waits for a lock, a dialogue or a query must not outlive it.
    os._exit(1)
