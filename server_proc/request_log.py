"""One log line per request, and the id that ties it to the answer and to other lines.

WSGI middleware, outermost, so that refused requests are counted too. Knows neither bodies nor paths (a path may
name a person): only the route that matched. Task threads.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from _typeshed import OptExcInfo
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

REQUEST_ID = "axon.request_id"
ROUTE = "axon.route"
DEVICE = "axon.device"
"""The name of the device whose key came with the request, once that has been checked."""

# What a client may give as the id of its own request: no blank, no quote, nothing that could forge a line or a column.
_SANE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}", re.ASCII)
QUIET_ROUTES = frozenset({"/healthz", "/readyz", "/metrics"})

Observe = Callable[[str, str | None, int, float], None]
"""Takes note of a request that was handled: method, route, status, duration in seconds."""

log = structlog.get_logger()
# Of our own, since others may set back the one that modules share.
_random = random.Random()  # noqa: S311 - to tell requests apart, not to keep anything from anybody


def new_request_id() -> str:
    return f"{_random.getrandbits(64):016x}"


def request_id_of(given: str | None) -> str:
    """Return the client's own id of its request if it is a sane one, else a new one."""
    return given if given is not None and _SANE_ID.fullmatch(given) else new_request_id()


def _nobody(_method: str, _route: str | None, _status: int, _duration_s: float) -> None:
    pass


class RequestLog:
    """Wraps an application. The application says which route matched in `environ[ROUTE]`."""

    def __init__(
        self, app: WSGIApplication, observe: Observe = _nobody, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._app = app
        self._observe = observe
        self._clock = clock

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        started = self._clock()
        request_id = environ[REQUEST_ID] = request_id_of(environ.get("HTTP_X_REQUEST_ID"))

        def start_and_log(
            line: str, headers: list[tuple[str, str]], exc_info: OptExcInfo | None = None, /
        ) -> Callable[[bytes], object]:
            # Answers are whole when they are started, so this is all but the sending.
            self._log(environ, int(line[:3]), self._clock() - started)
            return start_response(line, [*headers, ("X-Request-Id", request_id)], exc_info)

        try:
            return self._app(environ, start_and_log)
        except Exception:
            self._log(environ, 500, self._clock() - started)
            raise

    def _log(self, environ: WSGIEnvironment, status: int, duration_s: float) -> None:
        method, route = environ["REQUEST_METHOD"], environ.get(ROUTE)
        self._observe(method, route, status, duration_s)
        device = {"device": environ[DEVICE]} if DEVICE in environ else {}
        write = log.debug if route in QUIET_ROUTES else log.info
        write(
            "request_handled",
            method=method,
            route=route,
            status=status,
            duration_ms=round(duration_s * 1000, 3),
            request_id=environ[REQUEST_ID],
            **device,
        )
