"""The reader simulator: sends planned marks to a server as card readers would, and counts what comes of them.

Open loop: a mark is due when the plan says so, however the server is doing, and its latency counts from then. The
caller's thread keeps the schedule; reader threads, each with a connection of its own, send. A mark that got no answer
is sent again with the same id, so that nothing is recorded twice.
"""

from __future__ import annotations

import http.client
import json
import queue
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any

import msgspec

from server_proc.arrivals import Arrival

READERS = 16
ANSWER_S = 10.0
RETRY_FOR_S = 30.0
RETRY_FIRST_S, RETRY_MAX_S = 0.05, 1.0
# The server closes connections that were idle for 5 s; one that is about to be closed is not worth trying.
REUSE_WITHIN_S = 4.0
TICK_S = 1.0
END_S = 0.5
_AGAIN = frozenset(
    {
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.BAD_GATEWAY,
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.INSUFFICIENT_STORAGE,
    }
)


class Unauthorized(Exception):
    """The server wants a device's key, or another one."""


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """Where marks go. `prefix` is what stands before "/api" in the path."""

    host: str
    port: int
    is_https: bool = False
    prefix: str = ""
    key: str | None = None

    def connect(self) -> http.client.HTTPConnection:
        kind = http.client.HTTPSConnection if self.is_https else http.client.HTTPConnection
        return kind(self.host, self.port, timeout=ANSWER_S)


class Figures(msgspec.Struct, kw_only=True):
    """What has come of the marks so far; latencies in seconds."""

    sent: int = 0
    accepted: int = 0
    duplicate: int = 0
    failed: int = 0
    retried: int = 0
    latencies_s: list[float] = msgspec.field(default_factory=list)
    recent_s: list[float] = msgspec.field(default_factory=list)
    """Since the last tick."""
    reasons: Counter[str] = msgspec.field(default_factory=Counter)


class Simulator:
    """Sends marks to `target`. `on_tick(figures)` is called every second while it runs."""

    def __init__(self, target: Target, on_tick: Callable[[Figures], None] = lambda _figures: None) -> None:
        self.figures = Figures()
        self._target = target
        self._on_tick = on_tick
        self._run = secrets.token_hex(4)  # not of the plan: the same plan again is other marks
        self._lock = threading.Lock()
        self._due: queue.SimpleQueue[tuple[float, Arrival] | None] = queue.SimpleQueue()
        self._ending = threading.Event()
        self._refusal: Unauthorized | None = None
        self._next_tick_s = 0.0

    def run(self, arrivals: Iterable[Arrival]) -> Figures:
        """Send all marks when they are due; return what came of them. Raises Unauthorized.

        KeyboardInterrupt ends it early: what is under way is given up, `figures` tell of the rest.
        """
        readers = [threading.Thread(target=self._read, name=f"reader-{n}", daemon=True) for n in range(READERS)]
        for reader in readers:
            reader.start()
        try:
            self._keep_schedule(arrivals)
            for _ in readers:
                self._due.put(None)
            for reader in readers:
                while reader.is_alive():
                    reader.join(self._until_tick_s())
        finally:
            self._end(readers)
        if self._refusal is not None:
            raise self._refusal
        return self.figures

    def _end(self, readers: list[threading.Thread]) -> None:
        """Have the readers end, and wait a moment for answers that are on their way."""
        self._ending.set()
        until_s = time.monotonic() + END_S
        for _ in readers:
            self._due.put(None)
        for reader in readers:
            reader.join(max(0.0, until_s - time.monotonic()))

    def _keep_schedule(self, arrivals: Iterable[Arrival]) -> None:
        began_s = time.monotonic()
        self._next_tick_s = began_s + TICK_S
        for arrival in arrivals:
            due_s = began_s + arrival.at_s
            while (wait_s := due_s - time.monotonic()) > 0:
                if self._ending.wait(min(wait_s, self._until_tick_s())):
                    return
            if self._ending.is_set():
                return
            self._due.put((due_s, arrival))
            self._until_tick_s()

    def _until_tick_s(self) -> float:
        """Return the time until the next tick, after the one that is due."""
        now_s = time.monotonic()
        if now_s >= self._next_tick_s:
            self._next_tick_s = now_s + TICK_S
            with self._lock:
                self._on_tick(self.figures)
                self.figures.recent_s.clear()
        return self._next_tick_s - now_s

    # -- on a reader's thread --------------------------------------------------------------------------------------

    def _read(self) -> None:
        reader = Reader(self._target)
        while (item := self._due.get()) is not None and not self._ending.is_set():
            try:
                self._send(reader, *item)
            except Unauthorized as error:
                self._refusal = error
                self._ending.set()
            except Exception as error:  # noqa: BLE001 - the thread's top frame; the mark failed, the next may not
                self._count_failed(f"{type(error).__name__}: {error}")
        reader.close()

    def _send(self, reader: Reader, due_s: float, arrival: Arrival) -> None:
        body = json.dumps(
            {"id": f"sim-{self._run}-{arrival.number}", "personId": arrival.person, "source": "simulator"}
        ).encode()
        with self._lock:
            self.figures.sent += 1
        began_s, pause_s, attempts = time.monotonic(), RETRY_FIRST_S, 1
        while True:
            status, answer = reader.post(body)
            if status is not None and status not in _AGAIN:
                break
            reason = answer if status is None else f"{status} {_detail(answer)}"
            if time.monotonic() - began_s > RETRY_FOR_S:
                self._count_failed(f"given up: {reason}")
                return
            if self._ending.wait(pause_s):
                return
            attempts += 1
            pause_s = min(2 * pause_s, RETRY_MAX_S)
            with self._lock:
                self.figures.retried += 1
        # One whose first answer was lost is known to the server when it comes again, and is no duplicate.
        self._count(status, answer, time.monotonic() - due_s, is_retry=attempts > 1 and not arrival.is_repeat)

    def _count(self, status: int, answer: Any, latency_s: float, *, is_retry: bool) -> None:
        if status == HTTPStatus.UNAUTHORIZED:
            raise Unauthorized(_detail(answer))
        if status not in (HTTPStatus.OK, HTTPStatus.CREATED):
            self._count_failed(f"{status} {_detail(answer)}")
            return
        says_duplicate = isinstance(answer, dict) and answer.get("duplicate") is True
        is_duplicate = status == HTTPStatus.OK and (says_duplicate or not is_retry)
        with self._lock:
            if is_duplicate:
                self.figures.duplicate += 1
            else:
                self.figures.accepted += 1
            self.figures.latencies_s.append(latency_s)
            self.figures.recent_s.append(latency_s)

    def _count_failed(self, reason: str) -> None:
        with self._lock:
            self.figures.failed += 1
            self.figures.reasons[reason] += 1


class Reader:
    """A card reader's connection, opened when it is needed and kept while it is used."""

    def __init__(self, target: Target) -> None:
        self._path = f"{target.prefix}/api/attendance"
        self._headers = {"Content-Type": "application/json"}
        if target.key is not None:
            self._headers["Authorization"] = f"Bearer {target.key}"
        self._target = target
        self._connection: http.client.HTTPConnection | None = None
        self._used_s = 0.0

    def post(self, body: bytes) -> tuple[int | None, Any]:
        """Return the status and the decoded answer; None and the reason if there was no answer."""
        if self._connection is not None and time.monotonic() - self._used_s > REUSE_WITHIN_S:
            self.close()
        try:
            if self._connection is None:
                self._connection = self._target.connect()
            self._connection.request("POST", self._path, body, self._headers)
            answer = self._connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            return None, f"{type(error).__name__}: {error}"
        self._used_s = time.monotonic()
        try:
            return answer.status, json.loads(text)
        except ValueError:
            return answer.status, None

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _detail(answer: Any) -> str:
    detail = answer.get("detail") if isinstance(answer, dict) else None
    return detail if isinstance(detail, str) else "(no reason given)"
