"""Telling a service manager how we are, by systemd's protocol: datagrams of NAME=value lines to $NOTIFY_SOCKET.

Owns the socket and the words. Must not know children beyond their states. Used by the supervisor's thread alone, in
whose loop `tick` is called: a loop that stands still sends no watchdog ping. Nothing here waits or raises.
"""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Mapping, MutableMapping

import msgspec
import structlog

from launcher.policy_types import State
from launcher.status import ChildStatus, Snapshot

_log = structlog.get_logger()
_RETRY_S = 2.0  # so seldom that an idle launcher whose service manager is gone may go on for ever
_USEC = re.compile(r"[1-9][0-9]{0,19}", re.ASCII)  # of 64 bits
_SHORTEST_PING_S = 0.001  # more often would be all that the loop does
_LONGEST_PING_S = 3600.0  # "no limit" is a number of some 500,000 years there
_VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
_SETTLED = frozenset({State.RUNNING, State.FATAL, State.EXITED, State.STOPPED})


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """What the service manager wants: `address` "" when there is none, `ping_s` None when it does not watch us."""

    address: str = ""
    ping_s: float | None = None


def take_service(environment: MutableMapping[str, str]) -> Service:
    """Read what the service manager has left in the environment and remove it: it is meant for us, not for children."""
    found = {name: environment.pop(name, "") for name in _VARIABLES}
    address = found["NOTIFY_SOCKET"]
    if not address:
        return Service()
    if address[0] not in "/@" or len(address) < 2:
        _log.warning("notify_socket_ignored", address=address, reason="neither a path nor an abstract name")
        return Service()
    return Service(address=address, ping_s=_ping_s(found))


def _ping_s(found: Mapping[str, str]) -> float | None:
    usec, pid = found["WATCHDOG_USEC"], found["WATCHDOG_PID"]
    if not usec or (pid and pid != str(os.getpid())):
        return None
    if _USEC.fullmatch(usec) is None:
        _log.warning("watchdog_ignored", watchdog_usec=usec, reason="not a number of microseconds")
        return None
    return max(_SHORTEST_PING_S, min(int(usec) / 2 / 1e6, _LONGEST_PING_S))


class Notifier:
    """Reports to the service manager; without one it does nothing."""

    def __init__(self, service: Service) -> None:
        self._address = service.address.replace("@", "\0", 1) if service.address.startswith("@") else service.address
        self._ping_s = service.ping_s if service.address else None
        self._ping_at_s = float("-inf")
        self._socket: socket.socket | None = None
        self._unsent: list[str] = []
        self._retry_at_s = float("inf")
        self._has_failed = False
        self._is_ready = False
        self._is_reloading = False
        self._is_stopping = False
        self._status = ""
        if service.address:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)

    @property
    def deadline_s(self) -> float | None:
        """When `tick` wants to be called at the latest (monotonic), None for never."""
        ping_at_s = float("inf") if self._ping_s is None else self._ping_at_s + self._ping_s
        deadline_s = min(ping_at_s, self._retry_at_s)
        return None if deadline_s == float("inf") else deadline_s

    def tick(self, now: float) -> None:
        """Say that the loop runs, as often as the watchdog asks for it. Call once per turn of the loop."""
        if self._ping_s is not None and now >= self._ping_at_s + self._ping_s:
            self._ping_at_s = now
            self._send(["WATCHDOG=1"])
        if now >= self._retry_at_s:
            self._tell([])

    def publish(self, snapshot: Snapshot) -> None:
        """Say what has changed."""
        lines: list[str] = []
        if snapshot.is_stopping:
            self.stopping()
        if not self._is_ready and all(child.state is State.RUNNING for child in snapshot.children):
            self._is_ready = True
            lines += ["READY=1", f"MAINPID={snapshot.pid}"]
        elif self._is_reloading and _is_settled(snapshot):
            self._is_reloading = False
            lines.append("READY=1")
        status = _words(snapshot)
        if status != self._status:
            self._status = status
            lines.append(f"STATUS={status}")
        if lines:
            self._tell(lines)

    def reloading(self) -> None:
        """Say that all children are being replaced; the next time all is settled, that is said too."""
        if self._is_ready and not self._is_stopping:
            self._is_reloading = True
            self._tell(["RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}"])

    def stopping(self) -> None:
        """Say that the end has begun; a second call does nothing."""
        if not self._is_stopping:
            self._is_stopping = True
            self._is_reloading = False
            self._tell(["STOPPING=1"])

    def close(self) -> None:
        """Let go of the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _tell(self, lines: list[str]) -> None:
        """Send what must not get lost: should it not arrive, `tick` tries again."""
        unsent = [line for line in self._unsent if not line.startswith("STATUS=")] if lines else self._unsent
        lines = [*unsent, *lines]
        is_sent = self._send(lines)
        self._unsent = [] if is_sent else lines
        self._retry_at_s = float("inf") if is_sent else time.monotonic() + _RETRY_S

    def _send(self, lines: list[str]) -> bool:
        if self._socket is None:
            return True
        try:
            self._socket.sendto("\n".join(lines).encode(errors="replace"), self._address)
        except OSError as error:
            if not self._has_failed:
                self._has_failed = True
                _log.warning("service_not_notified", reason=str(error), said=lines[0])
            return False
        self._has_failed = False
        return True


def _is_settled(snapshot: Snapshot) -> bool:
    return not snapshot.is_restarting and all(child.state in _SETTLED for child in snapshot.children)


def _words(snapshot: Snapshot) -> str:
    if snapshot.is_stopping:
        return "stopping; " + _states(snapshot.children)
    return f"{snapshot.url}; {_states(snapshot.children)}"


def _states(children: tuple[ChildStatus, ...]) -> str:
    return ", ".join(
        f"{child.name} {child.state}" + (f" ({_line(child.reason)})" if child.reason else "") for child in children
    )


def _line(text: str) -> str:
    """Return text that cannot begin a line of its own: a child's last words must not speak for us."""
    return " ".join(text.split())
