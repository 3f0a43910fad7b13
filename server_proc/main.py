"""The server child's entry point: puts the parts together, serves, takes them apart again.

Knows the child contract (ipc.child) and every part; holds no logic of theirs. Runs on the child's main thread.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Iterable
from contextlib import closing
from multiprocessing.connection import Listener
from pathlib import Path
from typing import TYPE_CHECKING

from ipc import ChildContext, ChildSetupError, IpcError, SocketServer
from server_proc.actions import register_actions
from server_proc.app import create_app
from server_proc.database import REMEDY, Database, open_database
from server_proc.database_errors import DatabaseUnusableError
from server_proc.host_gate import HostGate
from server_proc.http_server import HttpServer
from server_proc.hub import Hub
from server_proc.library_logging import route_waitress_logging
from server_proc.outbox import OutboxLog
from server_proc.request_log import RequestLog
from server_proc.self_check import SelfCheck, SelfCheckEvents
from server_proc.services import Services
from server_proc.store import MarkStore

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

DATABASE_NAME = "attendance.db"
EXIT_SELF_CHECK_FAILED = 1


def run(context: ChildContext) -> int:
    """Serve until told to stop; return the exit code. Raises ChildSetupError when it cannot begin.

    What takes time and needs no settings comes first: it is done in a spare, while its predecessor works.
    """
    route_waitress_logging()
    listener, http_socket = _handed_sockets(context)
    _require_loopback(http_socket)
    with closing(HttpServer(_nothing_mounted, http_socket, context.released)) as http:
        if not context.wait_for_go():
            return 0
        try:
            with closing(open_database(Path(context.settings.state_dir) / DATABASE_NAME)) as database:
                return _serve(context, database, listener, http)
        except (DatabaseUnusableError, IpcError) as error:  # only setting up lets these through
            raise ChildSetupError(str(error)) from error


def _serve(context: ChildContext, database: Database, listener: Listener, http: HttpServer) -> int:
    settings = context.settings
    outbox = _open_outbox(database)
    channel = SocketServer(
        settings.socket,
        listener=listener,
        authkey=context.authkey,
        log=outbox,
        log_payloads=settings.log_payloads,
    )
    hub = Hub(channel)
    services = Services(database=database, outbox=outbox, store=MarkStore(database, outbox), hub=hub)
    register_actions(channel, services, log_payloads=settings.log_payloads)
    http.mount(make_wsgi_app(services, http.address))

    refusals: list[IpcError] = []

    def succeed() -> bool:
        """Serve the clients of the channel, once the process before this one is gone and writes no more."""
        if not context.wait_to_succeed():
            return False
        outbox.catch_up()
        try:
            hub.start()
        except IpcError as error:
            refusals.append(error)
            http.stop()
        return not refusals

    try:
        exit_code = _serve_http(context, http, succeed)
    finally:
        hub.stop()
    if refusals:
        raise refusals[0]
    return exit_code


def _serve_http(context: ChildContext, http: HttpServer, succeed: Callable[[], bool]) -> int:
    self_check = SelfCheck(
        http.address,
        lambda: http.answered,
        SelfCheckEvents(begin=succeed, ready=context.ready, alive=context.heartbeat, failed=http.stop),
    )

    def stop() -> None:
        self_check.cancel()
        http.stop()

    context.on_stop(stop)
    if not context.wait_to_accept():
        return 0
    self_check.start()
    try:
        http.run()
    finally:
        self_check.join()
    return EXIT_SELF_CHECK_FAILED if self_check.has_failed else 0


def _nothing_mounted(_environ: WSGIEnvironment, _start_response: StartResponse) -> Iterable[bytes]:
    raise AssertionError("nobody is served before the application is there")


def make_wsgi_app(services: Services, address: tuple[str, int]) -> WSGIApplication:
    """Return what is served at `address`: the log around the gate around the application."""
    app = create_app(services)
    return RequestLog(HostGate(app.wsgi_app, *address))


def _open_outbox(database: Database) -> OutboxLog:
    try:
        return OutboxLog(database)
    except DatabaseUnusableError as error:
        raise ChildSetupError(f"cannot read {database.path}: {error}: {REMEDY}") from error


def _handed_sockets(context: ChildContext) -> tuple[Listener, socket.socket]:
    if context.listener is None or context.http_socket is None:
        raise ChildSetupError("the server was started without its sockets: start it with run.py")
    return context.listener, context.http_socket


def _require_loopback(http_socket: socket.socket) -> None:
    host = http_socket.getsockname()[0]
    if not ipaddress.ip_address(host).is_loopback:
        raise ChildSetupError(f"{host} can be reached by other machines and posting needs no key: use --host 127.0.0.1")
