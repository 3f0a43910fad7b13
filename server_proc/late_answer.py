"""An answer that is there later, so that nobody's thread need wait for it: what a view returns for work in line.

A WSGI server that does not know of it iterates over its body, which waits. Ours says POSTPONE in the environ and is
called when the answer is there (see http_channel). Task threads, and the thread on which the future is done.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from typing import TYPE_CHECKING, Any, NamedTuple

from flask import Response, request

from server_proc.batch_writer import Result
from server_proc.database_errors import DatabaseBusyError
from server_proc.error_answers import problem_of
from server_proc.problems import PROBLEM_TYPE, encode_problem, status_line
from server_proc.request_log import REQUEST_ID
from server_proc.write_turn import PATIENCE_S

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

POSTPONE = "axon.postpone"
"""In the environ of a server that catches Postponed."""
_LATE = "axon.late"


class Ready(NamedTuple):
    """What is answered in the end."""

    status: int
    content_type: str
    body: bytes


class Postponed(BaseException):
    """Takes a late body to a server that has asked for it; no handler of errors on the way is meant."""

    def __init__(self, body: LateBody) -> None:
        super().__init__()
        self.body = body
        self.task: Any = None  # the server's, which it notes on the way, to go on with once the answer is there


def answer_late(future: Future[Result], render: Callable[[Future[Result]], Ready]) -> Response:
    """Return what a view returns: `render` makes an answer of the future once that is done.

    What `render` raises is answered as a problem. It runs without Flask's contexts.
    """
    request.environ[_LATE] = future, render
    return _LATE_RESPONSE


class _LateResponse(Response):
    """Stands for every late answer while Flask handles it: of the answer itself nothing is known yet.

    There is one for all, since making a Response costs a tenth of what is done for a mark: nothing may be set on it.
    """

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> LateBody:
        future, render = environ.pop(_LATE)
        return LateBody(future, render, environ, start_response)


_LATE_RESPONSE = _LateResponse()


class LateBody:
    """The body; the answer is started when it is."""

    def __init__(
        self,
        future: Future[Any],
        render: Callable[[Future[Any]], Ready],
        environ: WSGIEnvironment,
        start_response: StartResponse,
    ) -> None:
        self._future = future
        self._render = render
        self._environ = environ
        self._start_response = start_response
        self._give_up_s = time.monotonic() + PATIENCE_S

    def __iter__(self) -> Iterator[bytes]:
        if POSTPONE in self._environ:
            raise Postponed(self)
        try:
            self._future.exception(PATIENCE_S)
        except TimeoutError:
            self._future.cancel()  # or else it has begun, and is waited for
        return iter(self.chunks())

    def when_ready(self, callback: Callable[[], None]) -> None:
        """Have `callback` called when `chunks` need not wait: now, or later on another thread."""
        self._future.add_done_callback(lambda _future: callback())

    def give_up_if_overdue(self, now_s: float) -> None:
        """Have it ready now if the work has been in line for too long, and has not begun."""
        if now_s >= self._give_up_s:
            self._future.cancel()

    def chunks(self) -> list[bytes]:
        """Start the answer and return its body. Waits unless it is ready."""
        ready = self._rendered(self._environ.get(REQUEST_ID))
        headers = [("Content-Type", ready.content_type), ("Content-Length", str(len(ready.body)))]
        self._start_response(status_line(ready.status), headers)
        return [ready.body]

    def _rendered(self, request_id: str | None) -> Ready:
        try:
            return self._render(self._future)
        except CancelledError:
            reason = f"another write has been under way for {PATIENCE_S:g} s"
            problem = problem_of(DatabaseBusyError(reason), request_id)
        except Exception as error:  # noqa: BLE001 - the last frame that knows the request
            problem = problem_of(error, request_id)
            error.__traceback__ = None  # its frames know the future, and the future knows it: no cycle
        return Ready(problem.status, PROBLEM_TYPE, encode_problem(problem, request_id))
