"""The subcommands that talk to a running launcher.

Owns finding the instance by its socket and the requests to it. Each function is one short conversation, on the main
thread of a process of its own.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import wait
from typing import Any

from ipc import AuthkeyError, ClientState, PayloadError, RequestError, SocketClient
from ipc.authkey import key_path, load_key
from launcher.errors import LauncherError, NoInstanceError, SettingsError
from launcher.log_outputs import STDOUT, stream
from launcher.presence import find_launcher
from launcher.settings import control_path
from launcher.spec import SERVER
from launcher.tail import Tail

_REPLY_S = 5.0
_STOP_S = 8.0
_ANSWERED = ("live", "unauthorized", "incompatible")


class _Line:
    """A client, and the launcher whose end the main thread waits for together with the client's answers."""

    def __init__(self, client: SocketClient, pid: int, pidfd: int) -> None:
        self.client = client
        self.pid = pid
        self.pidfd = pidfd
        self._reader, self._writer = os.pipe()

    def tell(self) -> None:
        """Have the main thread look at what it waits for. On the client's thread."""
        os.write(self._writer, b"\0")

    def wait_for(self, is_there: Callable[[], bool], timeout_s: float) -> bool:
        """Wait until it is there; False if that takes too long. Raises NoInstanceError when the launcher has ended."""
        until_s = time.monotonic() + timeout_s
        while not is_there():
            ready = wait([self.pidfd, self._reader], max(0.0, until_s - time.monotonic()))
            if self._reader in ready:
                os.read(self._reader, 1)
            elif ready:
                raise NoInstanceError(f"pid {self.pid} has just ended")
            else:
                return False
        return True

    def close(self) -> None:
        """Stop the client."""
        self.client.stop()
        os.close(self._reader)
        os.close(self._writer)


class _SilentError(LauncherError):
    """A launcher is there, but nobody answers on one of its sockets."""


def status(socket_path: str) -> dict[str, Any]:
    """Return the status object. Raises LauncherError."""
    with _control(socket_path) as line:
        return _ask(line, {"type": "status"})


def restart(socket_path: str, child: str) -> list[str]:
    """Have a child, or "all", replaced; return the names. Raises LauncherError."""
    with _control(socket_path) as line:
        names: list[str] = _ask(line, {"type": "restart", "child": child})["children"]
        return names


def stop(socket_path: str) -> int:
    """Stop the instance and wait until its process is gone; return its pid. Raises LauncherError."""
    with _control(socket_path) as line:
        try:
            _ask(line, {"type": "stop"})
        except NoInstanceError:
            pass  # somebody else has stopped it meanwhile
        if not wait([line.pidfd], _STOP_S):
            raise LauncherError(f"pid {line.pid} was asked to stop and still runs after {_STOP_S:g} s")
        return line.pid


def tail(socket_path: str, lines: int, *, as_json: bool) -> None:
    """Show the last lines of the log and those that come, until the launcher ends. Raises LauncherError."""
    with _control(socket_path) as line:
        output = stream("json" if as_json else "auto", STDOUT)
        Tail(line.client, output, STDOUT).run(lines, line.pidfd)


def send(socket_path: str, payload: dict[str, Any]) -> None:
    """Send a message to the server, as any client of the data plane would, and wait until it has handled it.

    Raises LauncherError.
    """
    try:
        with _connected(socket_path, socket_path) as line:
            _send_and_wait(line.client, payload)
    except _SilentError as error:
        raise LauncherError(f"not sent: {_why_no_server(socket_path)}") from error


def _send_and_wait(client: SocketClient, payload: dict[str, Any]) -> None:
    try:
        client.send_message(payload)
    except PayloadError as error:
        raise SettingsError(f"send: {error}") from error
    if not client.wait_until_acknowledged(_REPLY_S):
        raise LauncherError(f"sent, but not acknowledged within {_REPLY_S:g} s: it may have arrived")


def _why_no_server(socket_path: str) -> str:
    """Return what the launcher knows of a server that does not answer."""
    for child in status(socket_path)["children"]:
        if child["name"] == SERVER.name and child["state"] != "RUNNING":
            return f"the server is {child['state']}" + (f": {child['reason']}" if child["reason"] else "")
    return f"the server does not answer on {socket_path} within {_REPLY_S:g} s"


@contextmanager
def _control(socket_path: str) -> Iterator[_Line]:
    with _connected(socket_path, control_path(socket_path)) as line:
        yield line


@contextmanager
def _connected(socket_path: str, address: str) -> Iterator[_Line]:
    pid = find_launcher(socket_path)
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError as error:
        raise NoInstanceError(f"pid {pid} has just ended") from error
    try:
        with _talking(socket_path, address, pid, pidfd) as line:
            yield line
    finally:
        os.close(pidfd)


@contextmanager
def _talking(socket_path: str, address: str, pid: int, pidfd: int) -> Iterator[_Line]:
    try:
        client = SocketClient(address, authkey=load_key(key_path(socket_path)), name="cli")
    except AuthkeyError as error:
        raise LauncherError(f"refused: {error}") from error
    line = _Line(client, pid, pidfd)
    states: list[ClientState] = []
    answers: list[ClientState] = []

    def note(state: ClientState) -> None:
        states.append(state)
        if state.kind in _ANSWERED and not answers:
            answers.append(state)
            line.tell()

    client.add_state_handler(note)
    client.start()
    try:
        if not line.wait_for(lambda: bool(answers), _REPLY_S):
            raise _SilentError(f"pid {pid} does not answer on {address} within {_REPLY_S:g} s{_last_reason(states)}")
        if answers[0].kind != "live":
            raise LauncherError(f"refused by pid {pid}: {answers[0].reason}; the key is in {key_path(socket_path)}")
        yield line
    finally:
        line.close()


def _last_reason(states: list[ClientState]) -> str:
    return next((f": {state.reason}" for state in reversed(states) if state.reason), "")


def _ask(line: _Line, payload: dict[str, Any]) -> dict[str, Any]:
    outcomes: list[dict[str, Any] | RequestError] = []

    def note(outcome: dict[str, Any] | RequestError) -> None:
        outcomes.append(outcome)
        line.tell()

    line.client.begin_request(payload, note)
    if not line.wait_for(lambda: bool(outcomes), _REPLY_S):
        raise LauncherError(f"no reply within {_REPLY_S:g} s")
    if isinstance(outcome := outcomes[0], RequestError):
        raise (SettingsError if outcome.code == "bad_request" else LauncherError)(outcome.message) from outcome
    return outcome
