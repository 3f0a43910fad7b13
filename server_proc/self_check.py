"""The server's own view of whether it serves: a request to itself, once before it is ready, then twice a second.

Owns one thread, woken by `stop`. What would hang makes the request hang: the main loop, or all the task threads.
"""

from __future__ import annotations

import http.client
import select
import socket
import threading
import time
from collections.abc import Callable

import msgspec
import structlog

# With it, all threads may be busy for nearly the launcher's whole limit and none of it is lost between two requests.
INTERVAL_S = 0.5
FIRST_PATIENCE_S = 5.0
RETRY_S = 0.05
PATIENCE_S = 10.0
END_S = 2.0

log = structlog.get_logger()


class SelfCheckEvents(msgspec.Struct, frozen=True, kw_only=True):
    """What is called, on the thread of the check.

    `begin` after the first answer: False if it is time to stop. Then `ready` once, `alive` each time, and `failed` if
    there never was an answer.
    """

    begin: Callable[[], bool] = lambda: True
    ready: Callable[[], None]
    alive: Callable[[], None]
    failed: Callable[[], None]


class SelfCheck:
    """Asks `host`:`port` for /healthz. `answered` counts requests that were answered, of anybody."""

    def __init__(self, address: tuple[str, int], answered: Callable[[], int], events: SelfCheckEvents) -> None:
        self._host, self._port = address
        self._answered = answered
        self._events = events
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="self-check", daemon=True)
        self._connection: http.client.HTTPConnection | None = None
        self.has_failed = False

    def start(self) -> None:
        self._thread.start()

    def cancel(self) -> None:
        """Ask the thread to end, also in the middle of a request; returns at once."""
        self._stop.set()
        connection = self._connection
        sock = None if connection is None else connection.sock  # once: its thread may be closing it
        if sock is not None:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # it has just ended by itself

    def join(self) -> None:
        """Wait for the thread's end; the server being closed, nothing can hold it up for long."""
        self.cancel()
        if self._thread.is_alive():
            self._thread.join(END_S)

    def _run(self) -> None:
        try:
            self._check()
        except Exception:  # the thread's top frame: without it a bug here would look like a hung server
            log.exception("self_check_crashed")
            self._fail()
        finally:
            self._disconnect()

    def _check(self) -> None:
        if not self._is_answered_at_first():
            if not self._stop.is_set():
                log.error("self_check_failed", host=self._host, port=self._port)
                self._fail()
            return
        if not self._events.begin():
            return
        self._events.alive()
        self._events.ready()
        while not self._stop.wait(INTERVAL_S):
            if self._ask(PATIENCE_S):
                self._events.alive()

    def _is_answered_at_first(self) -> bool:
        """Ask until there is an answer: where a crowd waits our connection may be cut, as any other's."""
        deadline_s = time.monotonic() + FIRST_PATIENCE_S
        while not self._ask(max(RETRY_S, deadline_s - time.monotonic())):
            if time.monotonic() >= deadline_s or self._stop.wait(RETRY_S):
                return False
        return True

    def _fail(self) -> None:
        self.has_failed = True
        self._events.failed()

    def _ask(self, timeout_s: float) -> bool:
        """Return whether /healthz answered 200.

        The connection is kept: when strangers hold every connection there is, a new one would not be accepted, and
        that is no hang either.
        """
        try:
            if self._connection is None or self._connection.sock is None:  # the last answer was to be the last
                self._connection = http.client.HTTPConnection(self._host, self._port)
                self._connection.timeout = timeout_s
                self._connection.connect()
                if self._stop.is_set():  # `cancel` has found nothing yet that it could have shut down
                    return False
            self._connection.sock.settimeout(timeout_s)
            answered = self._answered()
            self._connection.request("GET", "/healthz")
            self._await_answer(self._connection.sock, answered, timeout_s)
            answer = self._connection.getresponse()
            answer.read()
            return answer.status == http.client.OK
        except (OSError, http.client.HTTPException) as error:
            log.debug("self_check_unanswered", reason=repr(error))
            self._disconnect()
            return False

    def _await_answer(self, asked: socket.socket, answered: int, timeout_s: float) -> None:
        """Wait until the answer begins.

        A request of ours that waits behind many others is no sign of a hang while those are answered.
        """
        waiting = select.poll()
        waiting.register(asked, select.POLLIN)
        deadline_s = time.monotonic() + timeout_s
        while not waiting.poll(min(INTERVAL_S, timeout_s) * 1000):
            before, answered = answered, self._answered()
            if answered != before:
                self._events.alive()
            elif time.monotonic() >= deadline_s:
                raise TimeoutError(f"no answer within {timeout_s:g} s")

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
