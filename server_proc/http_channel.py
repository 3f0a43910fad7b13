"""What we change in waitress's connections: errors as problems, late answers, all really read, an orderly end.

Methods of `Channel` run on waitress's main loop, except `service`, which like the tasks runs on a task thread. The trip
of a late answer: a task thread runs the application (`Task.execute`), which raises Postponed, so that `Channel.service`
ends early; whoever has made the answer has the main loop `resume` the connection; and that runs `service` again, with
the task that has begun, whose `execute` now finds the answer and sends it.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable
from functools import partial
from http import HTTPStatus
from typing import Any

import structlog
from waitress.channel import HTTPChannel  # type: ignore[import-untyped]
from waitress.parser import HTTPRequestParser, ParsingError  # type: ignore[import-untyped]
from waitress.task import ErrorTask, WSGITask  # type: ignore[import-untyped]
from waitress.utilities import Error  # type: ignore[import-untyped]

from server_proc.host_gate import REACHED_AT, TARGET_HOST
from server_proc.json_body import MAX_BODY_BYTES, MAX_BULK_BYTES
from server_proc.late_answer import POSTPONE, LateBody, Postponed
from server_proc.problems import PROBLEM_TYPE, ProblemError, encode_problem, status_line
from server_proc.request_log import new_request_id

# How long a client whose request was refused half-way may go on sending before it is cut.
DISCARD_S = 3.0
# From the first byte of a request to its last: a client that sends one byte now and then keeps nothing busy for longer.
RECEIVE_S = 15.0
# So much may have been answered that the client has not read. With more, its next request waits: a thread that had made
# the answer would wait in waitress until it is read. Half of what waitress allows, so that one more answer has room.
MAX_UNREAD_BYTES = 8 << 20
# A connection that was used so lately is going to be used again.
BUSY_S = 1.0

TOO_LARGE = f"The body may have at most {MAX_BODY_BYTES} bytes, that of a batch or an import {MAX_BULK_BYTES}."

log = structlog.get_logger()


class Task(WSGITask):  # type: ignore[misc]
    """Runs the application; at the end of the server's life it tells keep-alive clients to go.

    It runs twice where the application's answer is a late one: until that is known, and once the answer is there.
    """

    late_body: LateBody | None = None

    def execute(self) -> None:
        if self.late_body is not None:
            for chunk in self._begin_late_answer(self.late_body):
                self.write(chunk)
            return
        try:
            super().execute()
        except Postponed as postponed:
            postponed.task = self
            raise

    def conclude(self) -> None:
        """Begin a late answer though nobody is there to read it: what was done is logged and counted."""
        if self.late_body is not None:
            self._begin_late_answer(self.late_body)

    def _begin_late_answer(self, body: LateBody) -> Iterable[bytes]:
        self.late_body = None  # it knows us by its start_response: no cycle
        return body.chunks()

    def get_environment(self) -> dict[str, Any]:
        environ: dict[str, Any] = super().get_environment()
        environ[TARGET_HOST] = self.request.proxy_netloc
        environ[REACHED_AT] = self.channel.reached_at
        environ[POSTPONE] = True
        return environ

    def write(self, data: bytes) -> None:
        """Write a chunk; the first one together with the header, since two packets would wake the client twice."""
        if self.wrote_header:
            super().write(data)
            return
        self.channel.gathered = []
        try:
            super().write(data)
        finally:
            self.channel.send_gathered()

    def build_response_header(self) -> bytes:
        if self.channel.server.is_draining:
            self.set_close_on_finish()
        return bytes(super().build_response_header())


class ProblemTask(ErrorTask):  # type: ignore[misc]
    """Answers a request that waitress itself refuses (malformed, too large) as a problem."""

    def execute(self) -> None:
        error, request_id = self.request.error, new_request_id()
        # Some of waitress's reasons end with the line of the request in quotes, and that may hold a device's key.
        reason = error.body.partition(' "')[0]
        log.info("request_refused", status=error.code, reason=reason, request_id=request_id)
        # waitress has one limit for all routes and does not know the lower ones.
        detail = TOO_LARGE if error.code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE else f"{reason}."
        body = encode_problem(ProblemError(error.code, detail), request_id)
        if (on_refused := self.channel.server.on_refused) is not None:
            on_refused(error.code)
        self.status = status_line(error.code)
        self.response_headers += [("Content-Type", PROBLEM_TYPE), ("X-Request-Id", request_id)]
        self.set_close_on_finish()
        self.content_length = len(body)
        self.channel.must_linger = True
        self.write(body)


class Parser(HTTPRequestParser):  # type: ignore[misc]
    """Refuses what makes waitress's parser raise: an address that is none, a length of thousands of digits.

    And a body with two lengths, which somebody in front of us may have read as another one (request smuggling).
    """

    def parse_header(self, header_plus: bytes) -> None:
        try:
            super().parse_header(header_plus)
        except ValueError as error:
            raise ParsingError("Its target or its Content-Length is none") from error
        if self.chunked and "CONTENT_LENGTH" in self.headers:
            raise ParsingError("Content-Length and Transfer-Encoding exclude each other")


class TooSlow(Error):  # type: ignore[misc]
    """What waitress has no error for."""

    code = int(HTTPStatus.REQUEST_TIMEOUT)
    reason = HTTPStatus.REQUEST_TIMEOUT.phrase


class Channel(HTTPChannel):  # type: ignore[misc]
    """One connection."""

    parser_class = Parser
    error_task_class = ProblemTask
    request: Any
    must_linger = False
    discard_until: float | None = None
    began_s = 0.0
    was_answered = False
    is_held = False
    late_body: LateBody | None = None
    _resumed: Task | None = None
    gathered: list[bytes] | None = None

    def __init__(self, server: Any, sock: socket.socket, *rest: Any, **options: Any) -> None:
        super().__init__(server, sock, *rest, **options)
        try:
            self.reached_at = str(sock.getsockname()[0])
        except OSError:
            self.reached_at = ""  # it is gone already

    def task_class(self, _channel: Channel, request: HTTPRequestParser) -> Task:
        """Return what handles a request: the task that has begun with it, if its answer was a late one."""
        task, self._resumed = self._resumed, None
        return task or Task(self, request)

    def service(self) -> None:
        resumed = self._resumed
        if resumed is None and self.total_outbufs_len > MAX_UNREAD_BYTES:
            self.is_held = True  # `writable` finds it
            self.server.pull_trigger()
            return
        self.was_answered = True  # first: as soon as it owes nothing any more, others are made room for
        try:
            super().service()
        except Postponed as postponed:
            self.late_body = postponed.body
            postponed.body.when_ready(partial(self.server.resume_soon, self, postponed.task))
            return
        if resumed is not None:
            resumed.conclude()
        self.server.answered += 1

    def write_soon(self, data: Any) -> int:
        if self.gathered is None:
            return int(super().write_soon(data))
        self.gathered.append(data)
        return len(data)

    def send_gathered(self) -> None:
        """Send in one piece what was written since `gathered` was made a list."""
        gathered, self.gathered = self.gathered, None
        super().write_soon(b"".join(gathered or ()))

    def resume(self, task: Task) -> None:
        """Go on with the request whose late answer is ready."""
        body, self.late_body = self.late_body, None
        task.late_body, self._resumed = body, task
        if self.total_outbufs_len:
            self.server.add_task(self)  # it may wait for the client to read, for which the main loop must go on
        else:
            self.service()

    def close_unless_owing(self, in_grace: bool) -> None:
        """Close the connection unless a request of it is being handled, still arrives, or (in grace) is likely to."""
        is_unfinished = self.request is not None
        is_busy = time.time() - self.last_activity < BUSY_S
        is_arriving = is_unfinished and is_busy  # a large body over a slow line
        is_likely = in_grace and (is_unfinished or is_busy or self.last_activity == self.creation_time)
        if self.owes_nothing and not (is_arriving or is_likely or self.is_unread()):
            self.will_close = True

    def is_unread(self) -> bool:
        """Whether a request has arrived that has not been read yet."""
        try:
            return bool(self.socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
        except OSError:
            return False

    def writable(self) -> bool:
        """Whether the main loop has something to send.

        WORKAROUND: waitress says so too while a task thread is sending. The main loop then spins, since the socket
        takes more, and each of its turns comes before the task thread's, which waits for the interpreter for up to its
        switch interval: 5 ms for an answer. Whoever sends pulls the trigger when there is something left to do.
        """
        if self.is_held and self.total_outbufs_len <= MAX_UNREAD_BYTES:
            self.is_held = False
            self.server.add_task(self)
        if not self.total_outbufs_len or self.will_close:
            return bool(super().writable())
        is_free = self.outbuf_lock.acquire(blocking=False)
        if is_free:
            self.outbuf_lock.release()
        return bool(is_free)

    def handle_write(self) -> None:
        if not (self.must_linger and self.close_when_flushed) or self.will_close:
            super().handle_write()
            return
        self._flush_exception(self._flush_some)
        if self.connected and not self.total_outbufs_len:
            self._linger()

    @property
    def owes_nothing(self) -> bool:
        """Whether no answer of this connection is being made or sent."""
        return not (self.requests or self.total_outbufs_len)

    def look_after(self, now_s: float) -> None:
        """Answer a request that has been arriving for too long, or whose answer takes too long."""
        if (late_body := self.late_body) is not None:
            late_body.give_up_if_overdue(now_s)
        is_unread = self.total_outbufs_len > 0 and (self.is_held or not self.requests)
        if is_unread and time.time() - self.last_activity > self.adj.channel_timeout:
            self.handle_close()  # waitress waits until more can be sent, which may be never
            return
        with self.requests_lock:
            request = self.request
            if request is None or self.requests or now_s - self.began_s < RECEIVE_S:
                return
            request.error = TooSlow(f"The request did not arrive within {RECEIVE_S:g} s")
            self.request = None
            self.requests.append(request)
        self.server.add_task(self)

    def received(self, data: bytes) -> bool:
        if self.discard_until is None:
            before = self.request
            is_received = bool(super().received(data))
            if self.request is not before:
                self.began_s = time.monotonic()
            return is_received
        if time.monotonic() > self.discard_until:
            self.will_close = True
        return False

    def _linger(self) -> None:
        """Say that nothing more will come, and read on for a while.

        Closing with unread data makes the kernel send a reset, and a client that is still sending its too large body
        then sees a broken connection instead of our answer.
        """
        self.close_when_flushed = False
        self.discard_until = time.monotonic() + DISCARD_S
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:
            self.handle_close()
