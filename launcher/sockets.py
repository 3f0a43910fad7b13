"""The sockets that outlive a server: the data plane's Listener and the HTTP socket.

Owns binding and closing both. The server child is handed copies and accepts on them; here they only have to stay
open, so that clients wait in the backlog while a server is replaced. Used by the supervisor's thread.
"""

from __future__ import annotations

import errno
import socket
from multiprocessing.connection import Listener

import structlog

from ipc.endpoint import BoundListener, bind_listener, listening_socket
from ipc.errors import AddressError
from launcher.errors import SettingsError

_log = structlog.get_logger()
_BACKLOG = 1024
# Addresses to listen on that are none to connect to, and where this machine itself finds what listens there.
_REACHED_HERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - nothing is bound to it here


class ServerSockets:
    """Both sockets of the server, open or closed together."""

    def __init__(self, socket_path: str, host: str, port: int, authkey: bytes) -> None:
        self._socket_path = socket_path
        self._host = host
        self._port = port
        self._authkey = authkey
        self._bound: BoundListener | None = None
        self._http: socket.socket | None = None

    @property
    def listener(self) -> Listener | None:
        """The data plane, to be handed to the server."""
        return self._bound.listener if self._bound else None

    @property
    def http(self) -> socket.socket | None:
        """The HTTP socket, to be handed to the server."""
        return self._http

    @property
    def url(self) -> str:
        """Where HTTP is served; with `--port 0` this is known once the sockets were open."""
        host = _REACHED_HERE.get(self._host, self._host)
        host = f"[{host}]" if ":" in host else host
        return f"http://{host}:{self._port}"

    def open(self) -> None:
        """Bind and listen; what is open stays as it is. Raises SettingsError that names the option."""
        if self._http is None:
            self._http = _bind_http(self._host, self._port)
            self._port = self._http.getsockname()[1]
        if self._bound is None:
            try:
                self._bound = bind_listener(self._socket_path, self._authkey)
            except AddressError as error:
                self.close()
                raise SettingsError(f"--socket: {error}") from error

    @property
    def is_lost(self) -> bool:
        """Whether nobody finds the data plane any more: its file was removed, or another is in its place."""
        return self._bound is not None and not self._bound.is_in_place()

    def replace_lost(self) -> None:
        """Bind the data plane anew if it is lost. Only who is spawned from here on accepts on it.

        Where that cannot be done the old one stays: the server has HTTP to serve.
        """
        if not self.is_lost:
            return
        try:
            bound = bind_listener(self._socket_path, self._authkey)
        except AddressError as error:
            _log.warning("socket_missing", socket=self._socket_path, is_rebound=False, reason=str(error))
            return
        _log.warning("socket_missing", socket=self._socket_path, is_rebound=True)
        lost, self._bound = self._bound, bound
        if lost is not None:
            lost.close()  # our copy: a server that still works keeps its clients

    def close(self) -> None:
        """Stop listening: clients are refused instead of left to wait. Removes the socket file."""
        if self._bound is not None:
            _refuse(listening_socket(self._bound.listener))
            self._bound.close()
            self._bound = None
        if self._http is not None:
            _refuse(self._http)
            self._http.close()
            self._http = None


def _refuse(listening: socket.socket) -> None:
    """Stop listening in every process that shares the socket: closing it here would leave it open there."""
    try:
        listening.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # not every system can; then the last process to die closes it


def _bind_http(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _name, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise SettingsError(f"--host {host}: {error.strerror}") from error
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Accepted connections inherit it from here.
        bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        bound.bind(address)
        bound.listen(_BACKLOG)
    except OSError as error:
        bound.close()
        raise SettingsError(_why_not_bound(host, port, error)) from error
    return bound


def _why_not_bound(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"--port {port}: another program listens on {host}:{port}; choose another port, or 0 for a free one"
    if error.errno == errno.EACCES:
        return f"--port {port}: not allowed to listen on it; choose a port from 1024 up"
    return f"--host {host} --port {port}: cannot listen there: {error.strerror}"
