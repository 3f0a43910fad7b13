"""One log line per request, and the id that ties it to the answer and to other lines.

WSGI middleware, outermost, so that refused requests are counted too. Knows neither bodies nor paths (a path may
name a person): only the route that matched. Task threads.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from _typeshed import OptExcInfo
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

REQUEST_ID = "axon.request_id"
ROUTE = "axon.route"
QUIET_ROUTES = frozenset({"/healthz", "/readyz"})

log = structlog.get_logger()


class RequestLog:
    """Wraps an application. The application says which route matched in `environ[ROUTE]`."""

    def __init__(self, app: WSGIApplication, clock: Callable[[], float] = time.perf_counter) -> None:
        self._app = app
        self._clock = clock

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        started = self._clock()
        request_id = environ[REQUEST_ID] = uuid.uuid4().hex[:16]
        status = 500

        def remember_status(
            line: str, headers: list[tuple[str, str]], exc_info: OptExcInfo | None = None, /
        ) -> Callable[[bytes], object]:
            nonlocal status
            status = int(line[:3])
            return start_response(line, [*headers, ("X-Request-Id", request_id)], exc_info)

        try:
            return self._app(environ, remember_status)
        finally:
            # Answers are built whole before they are returned, so this is all but the sending.
            route = environ.get(ROUTE)
            write = log.debug if route in QUIET_ROUTES else log.info
            write(
                "request_handled",
                method=environ["REQUEST_METHOD"],
                route=route,
                status=status,
                duration_ms=round((self._clock() - started) * 1000, 3),
                request_id=request_id,
            )
