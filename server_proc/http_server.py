"""The HTTP server: waitress on a socket that was handed over, and its orderly end.

Owns the connections. `run` is the thread of waitress's main loop (the child's main thread); requests are handled by
waitress's task threads; `stop` may be called by any thread. Knows nothing of Flask or of what is served.
"""

from __future__ import annotations

import math
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from waitress import create_server, wasyncore  # type: ignore[import-untyped]

from server_proc.http_channel import Channel, Task
from server_proc.http_crowd import CONNECTION_LIMIT, CROWDED, accept_many, accept_without_files, make_room
from server_proc.json_body import MAX_BULK_BYTES

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

# More would contend for the interpreter; who waits for a commit holds none (see late_answer).
THREADS = 8
MAX_HEADER_BYTES = 32 << 10
# The application refuses what is over its limit and keeps the connection; this is where reading ends. Chunked bodies
# are counted with their framing here.
MAX_READ_BYTES = 2 * MAX_BULK_BYTES
MAINTENANCE_S = 1.0
# With what comes after it, this has to stay below what the launcher grants a server: some 4.3 s in a shutdown, when the
# ui has gone before it, and 5 s in a restart.
DRAIN_S = 3.25
# For requests of which only a part has come when the end begins, such as a header whose body is still on its way, and
# for connections that were busy a moment ago: their next request gets an answer that says it is the last one. A request
# that goes on arriving has until DRAIN_S.
GRACE_S = 0.25
# Meanwhile: who has been in line for too long is told so before the end.
LOOK_S = 0.1


class HttpServer:
    """Serves an application until told to stop, then answers what it has already received."""

    def __init__(
        self, app: WSGIApplication, listening_socket: socket.socket, released: Callable[[], None] = lambda: None
    ) -> None:
        """`released` is called, on the thread of `run`, once no more connections are taken."""
        # On Linux accepted sockets inherit it, so that no answer waits for an acknowledgement of the one before.
        listening_socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._map: dict[int, Any] = {}
        self._server = create_server(
            app,
            map=self._map,
            sockets=[listening_socket],
            threads=THREADS,
            connection_limit=CONNECTION_LIMIT,
            channel_timeout=5,
            cleanup_interval=2,
            asyncore_use_poll=True,
            max_request_header_size=MAX_HEADER_BYTES,
            max_request_body_size=MAX_READ_BYTES,
            ident="axon",
        )
        self._server.channel_class = Channel
        self._server.pull_trigger = self._wake
        self._server.resume_soon = self._resume_soon
        self._server.accept = accept_without_files(self._server.accept, self._server.active_channels.values)
        self._server.handle_accept = accept_many(self._server)
        self._server.is_draining = False
        self._server.answered = 0
        self._server.on_refused = None
        self._released = released
        self._is_woken = False
        self._ready: deque[tuple[Channel, Task]] = deque()
        self._next_look_s = 0.0
        self._is_stopping = False
        self._lock = threading.Lock()
        self._is_closed = False

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens: host and port."""
        host, port = self._server.socket.getsockname()[:2]
        return host, port

    def mount(self, app: WSGIApplication) -> None:
        """Serve another application. Call before `run`."""
        self._server.application = app

    @property
    def answered(self) -> int:
        """How many requests were answered: it moves as long as somebody is served."""
        return int(self._server.answered)

    def on_refused(self, callback: Callable[[int], None]) -> None:
        """Have `callback(status)` called for each request that never reaches the application, on a task thread."""
        self._server.on_refused = callback

    def run(self) -> None:
        """Serve; return when `stop` was called and what was in flight has been answered."""
        try:
            while not self._is_stopping:
                self._poll(MAINTENANCE_S)
                self._look_after_connections(time.monotonic())
            self._drain(time.monotonic())
        finally:
            self.close()

    def stop(self) -> None:
        """Ask `run` to end; returns at once. Bounded: `run` returns within DRAIN_S and a little."""
        self._server.is_draining = True  # first, so that every answer from now on says so
        self._is_stopping = True
        self._pull_trigger()

    def _wake(self) -> None:
        """Have the main loop look at its connections anew: one byte in its pipe is enough for all who ask for it."""
        if not self._is_woken:
            self._is_woken = True
            self._pull_trigger()

    def _pull_trigger(self) -> None:
        with self._lock:  # the trigger is a file descriptor, which somebody else may own after the close
            if not self._is_closed:
                self._server.trigger.pull_trigger()

    def _resume_soon(self, channel: Channel, task: Task) -> None:
        self._ready.append((channel, task))
        self._wake()

    def _poll(self, timeout_s: float) -> None:
        self._send_late_answers()
        wasyncore.loop(timeout=timeout_s, use_poll=True, map=self._map, count=1)

    def _send_late_answers(self) -> None:
        while True:
            self._is_woken = True  # nobody needs to: the connections are looked at after this
            while self._ready:
                channel, task = self._ready.popleft()
                try:
                    channel.resume(task)
                except Exception:  # noqa: BLE001 - as it is where the loop itself calls a channel
                    channel.handle_error()
            self._is_woken = False
            if not self._ready:  # else the one who has added to it has not woken us
                return

    def _look_after_connections(self, now_s: float) -> None:
        """Keep those who never finish what they begin from keeping everybody else out."""
        channels = self._server.active_channels
        if len(channels) > CROWDED:
            make_room(channels.values())
        if now_s >= self._next_look_s:
            self._next_look_s = now_s + MAINTENANCE_S
            for channel in list(channels.values()):
                channel.look_after(now_s)

    def _drain(self, started: float) -> None:
        """Stop accepting, and close each connection once it owes no answer. New connections wait for our successor."""
        server = self._server
        while self._is_anybody_waiting() and time.monotonic() - started < GRACE_S:
            self._poll(0)  # whoever has connected by now may have sent a request as well
        server.accepting = False
        self._released()
        self._poll(0)  # what has already arrived is in flight too
        while server.active_channels:
            elapsed_s = time.monotonic() - started
            if elapsed_s >= DRAIN_S:
                break
            in_grace = elapsed_s < GRACE_S
            for channel in list(server.active_channels.values()):
                channel.look_after(started + elapsed_s)
                channel.close_unless_owing(in_grace)
            remaining_s = min((GRACE_S if in_grace else DRAIN_S) - elapsed_s, LOOK_S)
            self._poll(math.ceil(remaining_s * 1000) / 1000)

    def _is_anybody_waiting(self) -> bool:
        backlog = select.poll()
        backlog.register(self._server.socket, select.POLLIN)
        return bool(self._server.readable() and backlog.poll(0))

    def close(self) -> None:
        """End every connection and all threads, once."""
        if self._is_closed:
            return
        for channel in list(self._server.active_channels.values()):
            channel.handle_close()
        # Threads that are not done by now are stuck; they are daemons and go with the process.
        self._server.task_dispatcher.shutdown(timeout=0.5)
        with self._lock:
            self._is_closed = True
            wasyncore.close_all(self._map)
