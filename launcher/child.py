"""What runs in a child before and around the application: the bootstrap.

Owns the child's end of its pipes, its signals and its exit code. Must not know what the application does. Runs on the
child's main thread, which by then is tied to the launcher (`leash`).
"""

from __future__ import annotations

import gc
import importlib
import multiprocessing
import os
import signal
import socket
import sys
from collections.abc import Callable
from multiprocessing.connection import Listener
from typing import Any, NoReturn

import msgspec
import structlog

from ipc.authkey import trust_inherited_key
from ipc.child import EXIT_SETUP, ChildContext, ChildSettings, ChildSetupError
from launcher import child_logs
from launcher.handover import TERMINAL_SIGNALS, InheritedFd, keep_from_grandchildren
from launcher.lifeline import Lifeline
from launcher.pipe_words import Heartbeat, Notice, Prepared, Ready, Released, SetupFailed, Spawned, encode

_MAX_REASON = 500

_log = structlog.get_logger()


class Birth(msgspec.Struct, frozen=True, kw_only=True):
    """All that a child is born with; it travels through the spawn's pickle. `locks` are held by being open."""

    entry: str
    prepares: bool
    log_level: str
    commands: InheritedFd
    notices: InheritedFd
    log: InheritedFd
    locks: tuple[InheritedFd, ...] = ()
    listener: Any = None
    http_socket: Any = None


class Context:
    """The ChildContext that an entry point is called with."""

    def __init__(self, birth: Birth, lifeline: Lifeline) -> None:
        self.authkey = bytes(multiprocessing.current_process().authkey)
        self.listener: Listener | None = birth.listener
        self.http_socket: socket.socket | None = birth.http_socket
        self._notices = birth.notices
        self._lifeline = lifeline

    @property
    def settings(self) -> ChildSettings:
        """What the launcher tells."""
        settings = self._lifeline.settings
        assert settings is not None, "they come with `wait_for_go`"
        return settings

    def wait_for_go(self) -> bool:
        """Say that all is built that needs no settings, and wait for them; False if it is time to stop."""
        gc.freeze()  # what has been loaded stays: no collection has to look at it
        gc.enable()
        _notify(self._notices, Spawned())
        return self._lifeline.wait_for_go()

    def ready(self) -> None:
        """Say that this child does its work now."""
        _notify(self._notices, Ready())

    def wait_to_accept(self) -> bool:
        """Say that everything is prepared, and wait until connections may be taken; False if it is time to stop."""
        _notify(self._notices, Prepared())
        return self._lifeline.wait_to_accept()

    def wait_to_succeed(self) -> bool:
        """Wait until the predecessor, if there is one, is gone; False if it is time to stop."""
        return self._lifeline.wait_to_succeed()

    def released(self) -> None:
        """Say that no more connections are taken."""
        _notify(self._notices, Released())

    def heartbeat(self) -> None:
        """Say that what could hang does not."""
        _notify(self._notices, Heartbeat())

    def on_stop(self, callback: Callable[[], None]) -> None:
        """Have `callback` called once, on the lifeline thread, when it is time to stop."""
        self._lifeline.on_stop(callback)


def main(birth: Birth) -> NoReturn:
    """Become the child that `birth` describes. Leaves by SystemExit with the exit code."""
    child_logs.redirect_output(birth.log.fileno())
    birth.log.close()
    child_logs.configure(birth.log_level)
    _ignore_terminal()
    trust_inherited_key()
    for handed in (birth.listener, birth.http_socket):
        if handed is not None:
            keep_from_grandchildren(_descriptor_of(handed))
    os.set_blocking(birth.notices.fileno(), False)
    lifeline = Lifeline(birth.commands)
    lifeline.start()
    sys.exit(_run(birth, lifeline))


def _run(birth: Birth, lifeline: Lifeline) -> int:
    try:
        entry = _load(birth.entry)
        context = Context(birth, lifeline)
        if not birth.prepares and not context.wait_for_go():
            return 0
        return entry(context)
    except ChildSetupError as error:
        return _setup_failed(birth, str(error))
    except ImportError as error:
        # Also one from inside `run`: a missing library does not appear by trying again.
        return _setup_failed(birth, f"{type(error).__name__}: {error}")
    except Exception:  # noqa: BLE001 - the main thread's top frame: whatever it is goes to the log as one event
        _log.exception("child_crashed")
        return 1


def _load(entry: str) -> Callable[[ChildContext], int]:
    module_name, _, function_name = entry.partition(":")
    try:
        function = getattr(importlib.import_module(module_name), function_name)
    except Exception as error:
        _log.exception("child_import_failed", entry=entry)
        raise ChildSetupError(f"cannot import {entry}: {type(error).__name__}: {error}") from error
    return function  # type: ignore[no-any-return]


def _setup_failed(birth: Birth, reason: str) -> int:
    lines = [line.strip() for line in reason.splitlines() if line.strip()]
    first = lines[0][:_MAX_REASON] if lines else "no reason given"
    _log.error("child_setup_failed", reason=first)
    _notify(birth.notices, SetupFailed(first))
    return EXIT_SETUP


def _notify(notices: InheritedFd, notice: Notice) -> None:
    try:
        os.write(notices.fileno(), encode(notice))
    except BlockingIOError:
        pass  # the launcher stands still and has heard enough heartbeats for now
    except BrokenPipeError:
        pass  # the launcher is gone; the lifeline ends this process


def _ignore_terminal() -> None:
    """Leave Ctrl-C and a closed terminal to the launcher.

    They were blocked while we were spawned, so that none could end us with a traceback before we got here.
    """
    for number in TERMINAL_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, TERMINAL_SIGNALS)


def _descriptor_of(handed: Any) -> int:
    if isinstance(handed, Listener):
        from ipc.endpoint import listening_socket

        return listening_socket(handed).fileno()
    return handed.fileno()  # type: ignore[no-any-return]
