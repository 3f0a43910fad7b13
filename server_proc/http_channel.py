"""What we change in waitress's connections: errors as problems, their answers really read, an orderly end.

Methods of `Channel` run on waitress's main loop, except `service`, which like the tasks runs on a task thread.
"""

from __future__ import annotations

import socket
import time

import structlog
from waitress.channel import HTTPChannel  # type: ignore[import-untyped]
from waitress.task import ErrorTask, WSGITask  # type: ignore[import-untyped]

from server_proc.problems import PROBLEM_TYPE, ProblemError, encode_problem, status_line

# How long a client whose request was refused half-way may go on sending before it is cut.
DISCARD_S = 3.0
# A connection that was used so lately is going to be used again.
BUSY_S = 1.0

log = structlog.get_logger()


class Task(WSGITask):  # type: ignore[misc]
    """Runs the application; at the end of the server's life it tells keep-alive clients to go."""

    def build_response_header(self) -> bytes:
        if self.channel.server.is_draining:
            self.set_close_on_finish()
        return bytes(super().build_response_header())


class ProblemTask(ErrorTask):  # type: ignore[misc]
    """Answers a request that waitress itself refuses (malformed, too large) as a problem."""

    def execute(self) -> None:
        error = self.request.error
        log.info("request_refused", status=error.code, reason=error.body)
        body = encode_problem(ProblemError(error.code, f"{error.body}."))
        self.status = status_line(error.code)
        self.response_headers.append(("Content-Type", PROBLEM_TYPE))
        self.set_close_on_finish()
        self.content_length = len(body)
        self.channel.must_linger = True
        self.write(body)


class Channel(HTTPChannel):  # type: ignore[misc]
    """One connection."""

    task_class = Task
    error_task_class = ProblemTask
    must_linger = False
    discard_until: float | None = None

    def service(self) -> None:
        super().service()
        self.server.answered += 1

    def close_unless_owing(self, in_grace: bool) -> None:
        """Close the connection unless a request of it is being handled, or (in grace) is likely to come."""
        is_unfinished = self.request is not None or self.last_activity == self.creation_time
        is_busy = time.time() - self.last_activity < BUSY_S
        if not (
            self.requests or self.total_outbufs_len or (in_grace and (is_unfinished or is_busy)) or self._is_unread()
        ):
            self.will_close = True

    def _is_unread(self) -> bool:
        """Whether a request has arrived that has not been read yet."""
        try:
            return bool(self.socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
        except OSError:
            return False

    def handle_write(self) -> None:
        if not (self.must_linger and self.close_when_flushed) or self.will_close:
            super().handle_write()
            return
        self._flush_exception(self._flush_some)
        if self.connected and not self.total_outbufs_len:
            self._linger()

    def received(self, data: bytes) -> bool:
        if self.discard_until is None:
            return bool(super().received(data))
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
