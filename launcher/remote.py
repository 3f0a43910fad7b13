"""The subcommands that talk to a running launcher.

Owns finding the instance by its socket and the requests to it. Each function is one short conversation, on the main
thread of a process of its own.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
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


class _SilentError(LauncherError):
    """A launcher is there, but nobody answers on one of its sockets."""


def status(socket_path: str) -> dict[str, Any]:
    """Return the status object. Raises LauncherError."""
    with _control(socket_path) as client:
        return _ask(client, {"type": "status"})


def restart(socket_path: str, child: str) -> list[str]:
    """Have a child, or "all", replaced; return the names. Raises LauncherError."""
    with _control(socket_path) as client:
        names: list[str] = _ask(client, {"type": "restart", "child": child})["children"]
        return names


def stop(socket_path: str) -> int:
    """Stop the instance and wait until its process is gone; return its pid. Raises LauncherError."""
    with _control(socket_path) as client:
        pid: int = _ask(client, {"type": "status"})["pid"]
        try:
            pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            return pid  # somebody else has stopped it meanwhile
        try:
            _ask(client, {"type": "stop"})
            if not wait([pidfd], _STOP_S):
                raise LauncherError(f"pid {pid} was asked to stop and still runs after {_STOP_S:g} s")
        finally:
            os.close(pidfd)
    return pid


def tail(socket_path: str, lines: int, *, as_json: bool) -> None:
    """Show the last lines of the log and those that come, until the launcher ends. Raises LauncherError."""
    try:
        pidfd = os.pidfd_open(find_launcher(socket_path))
    except ProcessLookupError as error:
        raise NoInstanceError("the launcher has just ended") from error
    try:
        with _control(socket_path) as client:
            output = stream("json" if as_json else "auto", STDOUT)
            Tail(client, output, STDOUT).run(lines, pidfd)
    finally:
        os.close(pidfd)


def send(socket_path: str, payload: dict[str, Any]) -> None:
    """Send a message to the server, as any client of the data plane would, and wait until it has handled it.

    Raises LauncherError.
    """
    try:
        with _connected(socket_path, socket_path) as client:
            _send_and_wait(client, payload)
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
def _control(socket_path: str) -> Iterator[SocketClient]:
    with _connected(socket_path, control_path(socket_path)) as client:
        yield client


@contextmanager
def _connected(socket_path: str, address: str) -> Iterator[SocketClient]:
    pid = find_launcher(socket_path)
    try:
        client = SocketClient(address, authkey=load_key(key_path(socket_path)), name="cli")
    except AuthkeyError as error:
        raise LauncherError(f"refused: {error}") from error
    has_answer = threading.Event()
    states: list[ClientState] = []

    def note(state: ClientState) -> None:
        states.append(state)
        if state.kind in _ANSWERED:
            has_answer.set()

    client.add_state_handler(note)
    client.start()
    try:
        if not has_answer.wait(_REPLY_S):
            raise _SilentError(f"pid {pid} does not answer on {address} within {_REPLY_S:g} s{_last_reason(states)}")
        answer = next(state for state in states if state.kind in _ANSWERED)
        if answer.kind != "live":
            raise LauncherError(f"refused by pid {pid}: {answer.reason}; the key is in {key_path(socket_path)}")
        yield client
    finally:
        client.stop()


def _last_reason(states: list[ClientState]) -> str:
    return next((f": {state.reason}" for state in reversed(states) if state.reason), "")


def _ask(client: SocketClient, payload: dict[str, Any]) -> dict[str, Any]:
    try:
        return client.request(payload, _REPLY_S)
    except RequestError as error:
        if error.code == "bad_request":
            raise SettingsError(error.message) from error
        raise LauncherError(error.message) from error
