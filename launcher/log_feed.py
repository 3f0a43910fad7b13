"""Sends the log to those clients of the control plane who asked for it, at the pace of each.

Owns the followers and, while there are any, one thread, "log-feed". A follower is a cursor into the ring of the latest
lines: one that reads slowly lags, then misses lines, which it is told, and costs nothing but its place. Must not know
what a line says. `follow` is called by ipc's threads, `close` by the main thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import structlog

from ipc import PayloadError, RequestError
from launcher.log_events import Event, decode
from launcher.log_ring import MAX_LINES, LogRing, Slice

_log = structlog.get_logger()
_BATCH_BYTES = 128 << 10
_PACE_S = 0.05
_LAGGING_S = 0.5
_JOIN_S = 0.5


class Followers(msgspec.Struct, frozen=True, kw_only=True):
    """How to reach those who follow: `waiting` is how much each client that is there has not read yet; it is quick."""

    send: Callable[[str, dict[str, Any]], bool]
    waiting: Callable[[], Mapping[str, int]]


class LogFeed:
    """Followers by peer id, each with the number of the last line that it was sent."""

    def __init__(self, ring: LogRing, followers: Followers) -> None:
        self._ring = ring
        self._followers = followers
        self._lock = threading.Lock()
        self._cursors: dict[str, int] = {}
        self._thread: threading.Thread | None = None
        self._has_news = threading.Event()
        self._is_closed = threading.Event()

    def follow(self, peer: str, payload: Mapping[str, Any]) -> dict[str, Any]:
        """Answer a request for the last `lines` lines and all that follow. Raises RequestError."""
        lines = payload.get("lines", 20)
        if not isinstance(lines, int) or isinstance(lines, bool) or lines < 0:
            raise RequestError("bad_request", f"tail: lines: a number from 0 is needed, not {lines!r}")
        with self._lock:
            if self._is_closed.is_set():
                raise RequestError("stopping", "the launcher is stopping")
            newest = self._ring.newest
            self._cursors[peer] = max(newest - min(lines, MAX_LINES), self._ring.oldest - 1)
            self._ring.call_on_news(self._has_news.set)
            self._has_news.set()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="log-feed", daemon=True)
                self._thread.start()
        return {"type": "accepted", "seq": newest}

    def close(self) -> None:
        """Send what there is to send and end the thread."""
        with self._lock:
            self._is_closed.set()
            thread = self._thread
        self._has_news.set()
        if thread is not None:
            thread.join(_JOIN_S)

    def _run(self) -> None:
        try:
            self._feed()
        except Exception:  # noqa: BLE001 - this thread's top frame: whoever asks again is served again
            _log.exception("log_feed_failed")
            with self._lock:
                self._cursors.clear()
                self._thread = None

    def _feed(self) -> None:
        is_lagging = False
        while True:
            self._has_news.wait(_LAGGING_S if is_lagging else None)
            self._has_news.clear()
            is_closing = self._is_closed.is_set()
            is_lagging = self._send_news()
            if is_closing or self._is_over():
                return
            self._is_closed.wait(_PACE_S)  # a flood goes out in few large messages

    def _is_over(self) -> bool:
        """Whether nobody follows any more; then the log is as fast as before."""
        with self._lock:
            if self._cursors:
                return False
            self._ring.call_on_news(None)
            self._thread = None
            return True

    def _send_news(self) -> bool:
        """Send everybody the next lines; return whether somebody has not got all of them."""
        with self._lock:
            waiting = self._followers.waiting()  # not before: who has asked by now has come since then, perhaps
            self._cursors = {peer: cursor for peer, cursor in self._cursors.items() if peer in waiting}
            cursors = dict(self._cursors)
        is_lagging = False
        for peer, cursor in cursors.items():
            found = self._ring.read(cursor, _BATCH_BYTES)
            if not found.lines and not found.missed:
                continue
            if waiting[peer] == 0 and self._send(peer, found):
                with self._lock:
                    if self._cursors.get(peer) == cursor:  # else it has asked again
                        self._cursors[peer] = found.last
            is_lagging = is_lagging or self._cursors.get(peer) != self._ring.newest
        return is_lagging

    def _send(self, peer: str, found: Slice) -> bool:
        events = [decode(line) for line in found.lines]
        try:
            return self._followers.send(peer, _message(found, events))
        except PayloadError:
            # Some child's event is nested too deeply, or too odd in another way: as text it can be sent.
            return self._followers.send(peer, _message(found, list(map(_flat, events))))


def _message(found: Slice, events: list[Event]) -> dict[str, Any]:
    """Return the message with some lines; `seq` is the number of the last one, `missed` how many before are lost."""
    return {"type": "log", "seq": found.last, "missed": found.missed, "events": events}


def _flat(event: Event) -> Event:
    return {key: value if isinstance(value, str) else str(value) for key, value in event.items()}
