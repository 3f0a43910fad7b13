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
from typing import Any, NoReturn

from ipc import AuthkeyError, PayloadError, RequestError, SocketClient
from ipc.authkey import key_path, load_key
from launcher.errors import LauncherError, NoInstanceError, SettingsError
from launcher.instance import running_pid
from launcher.log_outputs import STDOUT, stream
from launcher.settings import control_path
from launcher.tail import Tail

_REPLY_S = 5.0
_STOP_S = 8.0


def status(socket_path: str) -> dict[str, Any]:
    """Return the status object. Raises LauncherError."""
    with _connected(socket_path, control_path(socket_path)) as client:
        return _ask(client, {"type": "status"})


def restart(socket_path: str, child: str) -> list[str]:
    """Have a child, or "all", replaced; return the names. Raises LauncherError."""
    with _connected(socket_path, control_path(socket_path)) as client:
        names: list[str] = _ask(client, {"type": "restart", "child": child})["children"]
        return names


def stop(socket_path: str) -> int:
    """Stop the instance and wait until its process is gone; return its pid. Raises LauncherError."""
    with _connected(socket_path, control_path(socket_path)) as client:
        pid: int = _ask(client, {"type": "status"})["pid"]
        pidfd = os.pidfd_open(pid)
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
        pidfd = os.pidfd_open(running_pid(socket_path) or _no_instance(socket_path))
    except ProcessLookupError:
        _no_instance(socket_path)
    try:
        with _connected(socket_path, control_path(socket_path)) as client:
            output = stream("json" if as_json else "auto", STDOUT)
            Tail(client, output, STDOUT).run(lines, pidfd)
    finally:
        os.close(pidfd)


def send(socket_path: str, payload: dict[str, Any]) -> None:
    """Send a message to the server, as any client of the data plane would. Raises LauncherError."""
    with _connected(socket_path, socket_path) as client:
        try:
            client.send_message(payload)
        except PayloadError as error:
            raise SettingsError(str(error)) from error
        client.stop()  # waits for the acknowledgement
        if client.stats["unacknowledged"]:
            raise LauncherError("the server has not acknowledged the message")


@contextmanager
def _connected(socket_path: str, address: str) -> Iterator[SocketClient]:
    pid = running_pid(socket_path) or _no_instance(socket_path)
    try:
        client = SocketClient(address, authkey=load_key(key_path(socket_path)), name="cli")
    except AuthkeyError as error:
        raise NoInstanceError(str(error)) from error
    is_live = threading.Event()
    client.add_state_handler(lambda state: is_live.set() if state.kind == "live" else None)
    client.start()
    try:
        if not is_live.wait(_REPLY_S):
            raise LauncherError(f"pid {pid} does not answer on {address}: {client.state.reason or client.state.kind}")
        yield client
    finally:
        client.stop()


def _no_instance(socket_path: str) -> NoReturn:
    raise NoInstanceError(f"no launcher runs on {socket_path}; start one, or name another with --socket")


def _ask(client: SocketClient, payload: dict[str, Any]) -> dict[str, Any]:
    try:
        return client.request(payload, _REPLY_S)
    except RequestError as error:
        raise LauncherError(error.message) from error
