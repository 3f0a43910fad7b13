"""The host gate: only requests that were meant for this server, from pages of this server or from no page at all.

A web page can make a browser resolve its own name to 127.0.0.1 (DNS rebinding) and then talk to us as "same
origin"; what it cannot do is hide its name in Host and Origin. Where a browser sends no Origin (an image, a form's GET)
it says in Sec-Fetch-Site whose page asks. WSGI middleware in front of Flask; task threads.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from server_proc.problems import ProblemError
from server_proc.wsgi_problem import refuse

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

# What a connection knows and WSGI has no name for; the HTTP server says it in the environ.
TARGET_HOST = "axon.target_host"
"""The host and port of a request target in absolute form ("GET http://host/ HTTP/1.1"), else empty."""
REACHED_AT = "axon.reached_at"
"""The address of ours to which the client has connected."""

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
# A browser says "none" for what its user asked for, such as a typed address; other programs do not send the header.
_OWN_PAGES = frozenset({"same-origin", "none"})
_AUTHORITY = re.compile(r"(?:\[([0-9a-f:.]+)\]|([a-z0-9._-]+))(?::([0-9]+))?", re.ASCII)

_NO_HOST = ProblemError(HTTPStatus.BAD_REQUEST, "There must be exactly one Host header.")
_FOREIGN_HOST = ProblemError(
    HTTPStatus.FORBIDDEN,
    "The Host header does not name this server: use the address and port that it listens on."
    " Other names of it are given with --allowed-hosts.",
)
_FOREIGN_ORIGIN = ProblemError(
    HTTPStatus.FORBIDDEN, "The Origin header names another site: pages of other sites may not use this server."
)
_FOREIGN_PAGE = ProblemError(
    HTTPStatus.FORBIDDEN,
    "Sec-Fetch-Site: the request comes from a page of another site, which may not use this server.",
)


class HostGate:
    """Wraps an application; `rules` say what it is served as."""

    def __init__(self, app: WSGIApplication, rules: HostRules) -> None:
        self._app = app
        self._rules = rules

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        fault = self._rules.fault(environ)
        if fault is None:
            return self._app(environ, start_response)
        return refuse(environ, start_response, fault)


class HostRules:
    """Which requests are ours, for a server that is bound to `host`:`port`. Pure.

    `allowed_hosts` are further names of this server: "axon.example" with our port or, for a proxy in front of us, none;
    "axon.example:8443" exactly.
    """

    def __init__(self, host: str, port: int, allowed_hosts: Iterable[str] = ()) -> None:
        self._port = str(port)
        self._is_wildcard = is_wildcard(host)
        bound = () if self._is_wildcard else (_plain_address(host) or host.lower(),)
        self._names = frozenset((*LOOPBACK_NAMES, *bound))
        given = {name.lower() for name in allowed_hosts}
        self._allowed = frozenset(given | {f"{name}:{port}" for name in given if ":" not in name})

    def fault(self, environ: Mapping[str, Any]) -> ProblemError | None:
        """Return why a request is refused, or None."""
        host = environ.get("HTTP_HOST")
        if not host or "," in host:  # waitress joins repeated headers with commas
            return _NO_HOST
        reached_at = environ.get(REACHED_AT, "")
        target = environ.get(TARGET_HOST)
        if not self._is_ours(host, reached_at) or (target and not self._is_ours(target, reached_at)):
            return _FOREIGN_HOST
        origin = environ.get("HTTP_ORIGIN")
        if origin is not None and not self._is_own_origin(origin.lower(), reached_at):
            return _FOREIGN_ORIGIN
        fetch_site = environ.get("HTTP_SEC_FETCH_SITE")
        if fetch_site is not None and fetch_site.lower() not in _OWN_PAGES:
            return _FOREIGN_PAGE
        return None

    def _is_own_origin(self, origin: str, reached_at: str) -> bool:
        scheme, _, authority = origin.partition("://")
        if scheme == "https":  # we do not speak it, but a proxy in front of us does
            return authority in self._allowed
        return scheme == "http" and self._is_ours(authority, reached_at)

    def _is_ours(self, authority: str, reached_at: str) -> bool:
        authority = authority.lower()
        if authority in self._allowed:
            return True
        match = _AUTHORITY.fullmatch(authority)
        if match is None:
            return False
        literal, name, port = match.groups()
        if (port or "80") != self._port:
            return False
        if literal is None:
            found = name
        elif (found := _plain_address(literal)) is None or ":" not in found:
            return False
        # Behind a wildcard address a number names us only if it is the one that was reached: no page can choose that.
        return found in self._names or (self._is_wildcard and found == _plain_address(reached_at))


def is_wildcard(host: str) -> bool:
    """Whether a server bound to `host` can be reached at every address of this machine."""
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server that is bound to the address `host`."""
    return ipaddress.ip_address(host).is_loopback


def _plain_address(text: str) -> str | None:
    """Return the one spelling of an address that there is of each, None if it is none."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])  # Host has no zone
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)
