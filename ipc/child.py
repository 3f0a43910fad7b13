"""What the launcher and a child process must agree on: what a child is told, and what it may say back."""

import socket
from collections.abc import Callable
from multiprocessing.connection import Listener
from typing import Protocol

import msgspec

EXIT_SETUP = 78
"""A child's exit code for "starting me again as I am will not help": EX_CONFIG of sysexits.h."""


class ChildSetupError(Exception):
    """A child cannot run as things are (bad configuration, a missing library). One line, for the operator."""


class ChildSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What the launcher tells every child."""

    name: str
    run_id: str
    socket: str
    control_socket: str
    url: str
    state_dir: str
    offscreen: bool = False
    log_payloads: bool = False
    log_level: str = "info"


class ChildContext(Protocol):
    """A child's view of its launcher. An entry point is `def run(context: ChildContext) -> int`, the exit code."""

    @property
    def settings(self) -> ChildSettings: ...

    @property
    def authkey(self) -> bytes: ...

    @property
    def listener(self) -> Listener | None:
        """The data plane's listening socket; the server has it. Closing it does not remove the file."""

    @property
    def http_socket(self) -> socket.socket | None:
        """The listening HTTP socket; the server has it."""

    def ready(self) -> None:
        """Say that this child does its work now. Call it once."""

    def heartbeat(self) -> None:
        """Say that what could hang does not: from before `ready` on, and at least once a second.

        A child that has never said so is not watched. Have it said by what could hang, on whichever thread that is.
        """

    def on_stop(self, callback: Callable[[], None]) -> None:
        """Have `callback` called once, on another thread, when it is time to stop; at once if it already is."""
