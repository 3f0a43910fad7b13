"""The control plane: what other processes may ask the launcher, over an ipc.SocketServer of its own.

Owns the server and the words of its requests. Handlers run on ipc's threads: they read the published snapshot, or
queue a command for the supervisor and answer at once. Must not touch the supervisor's state.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from ipc import Limits, RequestError, SocketServer
from launcher.log_feed import Followers, LogFeed
from launcher.log_ring import LogRing
from launcher.sampling import Sampler
from launcher.status import Snapshot, describe, with_crash_reports

_KEPT_CHANGES = 64  # each tells of all children: who comes back needs the last one, and the rest is only held
_KNOWN_CLIENTS = 64  # each ui, and each spare for one, is another client


class RestartChildren(msgspec.Struct, frozen=True):
    """A command: replace these children."""

    names: tuple[str, ...]


class StopAll(msgspec.Struct, frozen=True):
    """A command: stop everything."""

    reason: str


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What there is to tell beside the children: what they cost, the log, and each one's latest crash report."""

    sampler: Sampler
    log: LogRing
    crash_reports: Callable[[], Mapping[str, str]]
    """Paths by child, the newest first."""


Command = RestartChildren | StopAll


class ControlPlane:
    """Answers `status`, `restart`, `stop` and `tail`; tells every client of changes."""

    def __init__(
        self, address: str, authkey: bytes, post: Callable[[Command], None], first: Snapshot, told: Told
    ) -> None:
        self._snapshot = first
        self._crash_reports = told.crash_reports
        self._post = post
        self._sampler = told.sampler
        limits = Limits(log_messages=_KEPT_CHANGES, max_known_clients=_KNOWN_CLIENTS)
        self._server = SocketServer(address, authkey=authkey, name="launcher", traffic_level="debug", limits=limits)
        self._server.on_request("status")(self._status)
        self._server.on_request("restart")(self._restart)
        self._server.on_request("stop")(self._stop)
        self._server.on_request("tail")(self._tail)
        self._feed = LogFeed(told.log, Followers(send=self._server.send, waiting=self._waiting))

    def start(self) -> None:
        """Listen. Raises ipc's AddressError."""
        self._server.start()

    def stop(self) -> None:
        """Say bye to all clients and stop listening."""
        self._feed.close()
        self._server.stop()

    def publish(self, snapshot: Snapshot) -> None:
        """Replace what is answered, and tell all clients."""
        self._snapshot = snapshot
        self._server.broadcast({"type": "children", "children": self._describe()["children"]})

    def tell(self, payload: dict[str, Any]) -> None:
        """Send something of the moment to all clients: who connects later does not get it."""
        for peer in self._server.peers:
            self._server.send(peer.id, payload)

    def _describe(self) -> dict[str, Any]:
        status = describe(self._snapshot, time.monotonic(), self._sampler.latest)
        return with_crash_reports(status, self._crash_reports())

    def _waiting(self) -> dict[str, int]:
        return {peer.id: peer.queue for peer in self._server.peers}

    def _tail(self, payload: dict[str, Any]) -> dict[str, Any]:
        return self._feed.follow(self._server.asking_peer, payload)

    def _status(self, _payload: dict[str, Any]) -> dict[str, Any]:
        self._sampler.refresh()
        return {"type": "status", **self._describe()}

    def _restart(self, payload: dict[str, Any]) -> dict[str, Any]:
        snapshot = self._snapshot
        known = tuple(child.name for child in snapshot.children)
        asked = payload.get("child")
        if asked != "all" and asked not in known:
            there_are = ", ".join((*known, "all"))
            raise RequestError("bad_request", f"restart: there is no child {asked!r}; choose one of {there_are}")
        if snapshot.is_stopping:
            raise RequestError("stopping", "the launcher is stopping")
        names = known if asked == "all" else (str(asked),)
        self._post(RestartChildren(names))
        return {"type": "accepted", "children": list(names)}

    def _stop(self, _payload: dict[str, Any]) -> dict[str, Any]:
        self._post(StopAll("asked over the control plane"))
        return {"type": "accepted", "pid": self._snapshot.pid}
