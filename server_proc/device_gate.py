"""The device gate: who can be reached by other machines asks each request for a device's key.

On loopback a key is optional, and still checked when there is one: a device that is tried out there learns that its key
is wrong. WSGI middleware between the host gate and Flask; task threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING

import structlog

from server_proc.database_errors import DatabaseError
from server_proc.devices import DeviceStore
from server_proc.problems import ProblemError
from server_proc.request_log import DEVICE, REQUEST_ID
from server_proc.wsgi_problem import refuse

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

OPEN_PATHS = frozenset({"/healthz"})  # says that the process lives, and nothing else
_AUTHORIZATION = "HTTP_AUTHORIZATION"

_NO_KEY = ProblemError(
    HTTPStatus.UNAUTHORIZED,
    'Send the key of a device: "Authorization: Bearer <key>". `run.py devices add NAME` makes one.',
)
_WRONG_KEY = ProblemError(HTTPStatus.UNAUTHORIZED, "The key is not that of a device, or it has been revoked.")
_UNKNOWN = ProblemError(
    HTTPStatus.SERVICE_UNAVAILABLE, "The database cannot be used now, so no key can be checked. Send it again later."
)
_CHALLENGE = ("WWW-Authenticate", 'Bearer realm="axon"')
_WRONG_CHALLENGE = ("WWW-Authenticate", 'Bearer realm="axon", error="invalid_token"')

log = structlog.get_logger()


class DeviceGate:
    """Wraps an application. `is_required`: nobody passes without a key; `now_ms` tells unix milliseconds."""

    def __init__(
        self, app: WSGIApplication, devices: DeviceStore, now_ms: Callable[[], int], *, is_required: bool
    ) -> None:
        self._app = app
        self._devices = devices
        self._now_ms = now_ms
        self._is_required = is_required

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        given = environ.pop(_AUTHORIZATION, None)  # nothing behind the gate has any business with it
        if environ["PATH_INFO"] in OPEN_PATHS or (given is None and not self._is_required):
            return self._app(environ, start_response)
        if given is None:
            return refuse(environ, start_response, _NO_KEY, (_CHALLENGE,))
        try:
            device = self._device_of(given)
        except DatabaseError as error:
            log.error("device_not_checked", reason=str(error), request_id=environ.get(REQUEST_ID))
            return refuse(environ, start_response, _UNKNOWN)
        if device is None:
            return refuse(environ, start_response, _WRONG_KEY, (_WRONG_CHALLENGE,))
        environ[DEVICE] = device
        return self._app(environ, start_response)

    def _device_of(self, authorization: str) -> str | None:
        scheme, _, key = authorization.partition(" ")
        key = key.strip()
        if scheme.lower() != "bearer" or not key:
            return None
        return self._devices.authenticate(key, self._now_ms())
