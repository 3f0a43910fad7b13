"""The host gate: only requests that were meant for this server, from pages of this server or from no page at all.

A web page can make a browser resolve its own name to 127.0.0.1 (DNS rebinding) and then talk to us as "same
origin"; what it cannot do is hide its name in Host and Origin. WSGI middleware in front of Flask; task threads.
"""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING

from server_proc.problems import PROBLEM_TYPE, ProblemError, encode_problem, status_line
from server_proc.request_log import REQUEST_ID

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")


class HostGate:
    """Wraps an application that is served on `host`:`port`."""

    def __init__(self, app: WSGIApplication, host: str, port: int) -> None:
        self._app = app
        self._rules = HostRules(host, port)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        fault = self._rules.fault(environ.get("HTTP_HOST"), environ.get("HTTP_ORIGIN"))
        if fault is None:
            return self._app(environ, start_response)
        body = encode_problem(ProblemError(HTTPStatus.FORBIDDEN, fault), environ.get(REQUEST_ID))
        headers = [("Content-Type", PROBLEM_TYPE), ("Content-Length", str(len(body)))]
        start_response(status_line(HTTPStatus.FORBIDDEN), headers)
        return [body]


class HostRules:
    """Which Host and Origin headers are ours. Pure."""

    def __init__(self, host: str, port: int) -> None:
        bound = f"[{host}]" if ":" in host else host
        names = {name.lower() for name in (*LOOPBACK_NAMES, bound)}
        exact = {f"{name}:{port}" for name in names}
        self._hosts = names | exact
        # An origin without a port is another server on this machine: the one at port 80.
        self._origins = {f"http://{name}" for name in (exact if port != 80 else exact | names)}

    def fault(self, host: str | None, origin: str | None) -> str | None:
        """Say why a request is refused, or None."""
        if host is None or host.lower() not in self._hosts:
            return "The Host header does not name this server: use localhost or 127.0.0.1 and its port."
        if origin is not None and origin.lower() not in self._origins:
            return "The Origin header names another site: pages of other sites may not use this server."
        return None
