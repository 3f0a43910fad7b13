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
    """A child's view of its launcher. An entry point is `def run(context: ChildContext) -> int`, the exit code.

    An entry that is declared to prepare is called ahead of its turn, in a spare, and asks for it in three steps:
    `wait_for_go`, `wait_to_accept`, `wait_to_succeed`. For any other entry there are none: it is called when it is its
    turn, and the process before it is gone.
    """

    @property
    def settings(self) -> ChildSettings:
        """What the launcher tells; an entry that prepares is told with `wait_for_go`."""

    @property
    def authkey(self) -> bytes: ...

    @property
    def listener(self) -> Listener | None:
        """The data plane's listening socket; the server has it. Closing it does not remove the file."""

    @property
    def http_socket(self) -> socket.socket | None:
        """The listening HTTP socket; the server has it."""

    def wait_for_go(self) -> bool:
        """Say that all is built that needs no settings, and wait for them; False if it is time to stop."""

    def wait_to_accept(self) -> bool:
        """Say that everything is prepared, and wait until connections may be taken; False if it is time to stop.

        In a planned restart a predecessor works until then, and its last requests beyond then; else there is none.
        """

    def wait_to_succeed(self) -> bool:
        """Wait until the predecessor, if there is one, is gone; False if it is time to stop. On any thread."""

    def ready(self) -> None:
        """Say that this child does its work now. Call it once."""

    def released(self) -> None:
        """Say that no more connections are taken: a successor may begin to. Call it once, when stopping."""

    def heartbeat(self) -> None:
        """Say that what could hang does not."""

    def on_stop(self, callback: Callable[[], None]) -> None:
        """Have `callback` called once, on another thread, when it is time to stop; at once if it already is."""
