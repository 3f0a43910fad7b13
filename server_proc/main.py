"""The server child's entry point: puts the parts together, serves, takes them apart again.

Knows the child contract (ipc.child) and every part; holds no logic of theirs. Runs on the child's main thread.
"""

from __future__ import annotations

import shlex
import socket
import threading
from collections.abc import Callable, Iterable
from contextlib import closing
from multiprocessing.connection import Listener
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from ipc import ChildContext, ChildSetupError, IpcError, Payload, SocketServer
from ipc.authkey import check_key
from server_proc.actions import register_actions
from server_proc.app import create_app, rehearse
from server_proc.database import DATABASE_NAME, Database, open_database
from server_proc.database_errors import DatabaseError, DatabaseUnusableError
from server_proc.device_gate import DeviceGate
from server_proc.devices import DeviceStore
from server_proc.host_gate import HostGate, HostRules, is_loopback, is_wildcard
from server_proc.http_crowd import raise_file_limit
from server_proc.http_server import HttpServer
from server_proc.hub import Hub
from server_proc.integrity import check_once
from server_proc.library_logging import route_waitress_logging
from server_proc.marks import MARK_TYPE
from server_proc.metric_sources import Sources
from server_proc.metrics import Metrics
from server_proc.outbox import OutboxLog
from server_proc.patient_start import PatientStart
from server_proc.people import PeopleStore
from server_proc.request_log import RequestLog
from server_proc.schema import REMEDY, left_as_it_is
from server_proc.self_check import SelfCheck, SelfCheckEvents
from server_proc.services import Services
from server_proc.snapshots import SnapshotReader
from server_proc.store import MarkStore
from server_proc.upkeep import Upkeep
from server_proc.voids import VoidStore

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment
    from flask import Flask

EXIT_SELF_CHECK_FAILED = 1
EXIT_DATABASE_UNAVAILABLE = 1  # not EXIT_SETUP: another try may work

log = structlog.get_logger()


def run(context: ChildContext) -> int:
    """Serve until told to stop; return the exit code. Raises ChildSetupError when it cannot begin.

    What takes time and needs no settings comes first: it is done in a spare, while its predecessor works.
    """
    route_waitress_logging()
    raise_file_limit()
    listener, http_socket = _handed_sockets(context)
    services = Services()
    app = create_app(services)
    rehearse(app)
    with closing(HttpServer(_nothing_mounted, http_socket, context.released)) as http:
        if not context.wait_for_go():
            return 0
        try:
            check_key(context.authkey)
            database = _open(context, http.address[0])
            if database is None:
                return 0
            services.database = database
            with closing(database):
                return _serve(context, app, services, listener, http)
        except (DatabaseUnusableError, IpcError) as error:  # only setting up lets these through
            raise ChildSetupError(str(error)) from error
        except DatabaseError as error:
            log.error("database_abandoned", reason=str(error))
            return EXIT_DATABASE_UNAVAILABLE


def _open(context: ChildContext, host: str) -> Database | None:
    """Return the database once it can be used, None if it is time to stop. Raises ChildSetupError, DatabaseError."""
    path = Path(context.settings.state_dir) / DATABASE_NAME
    is_over = threading.Event()
    context.on_stop(is_over.set)

    def begin() -> Database:
        database = open_database(path)
        try:
            _require_keys(context, database, host)
            check_once(database, context.settings.run_id)
        except BaseException:
            with left_as_it_is(path):
                database.close()
            raise
        return database

    return PatientStart(path, is_over.wait).run(begin)


def _serve(context: ChildContext, app: Flask, services: Services, listener: Listener, http: HttpServer) -> int:
    settings, database, metrics = context.settings, services.database, services.metrics
    outbox = services.outbox = _open_outbox(database, metrics)
    channel = SocketServer(
        settings.socket,
        listener=listener,
        authkey=context.authkey,
        log=outbox,
        log_payloads=settings.log_payloads,
    )
    hub = services.hub = Hub(channel)
    services.store = MarkStore(database, outbox, settings.cooldown_s * 1000)
    services.people = PeopleStore(database, outbox)
    services.voids = VoidStore(database, outbox)
    services.snapshots = SnapshotReader(database)
    metrics.registry.register(Sources(channel, outbox, database.path))
    channel.add_ack_handler(metrics.acked)
    register_actions(channel, services, log_payloads=settings.log_payloads)
    upkeep = Upkeep(database, outbox)
    http.mount(make_wsgi_app(app, services, http.address, settings.allowed_hosts))
    http.on_refused(metrics.refused)

    def succeed() -> bool:
        """Serve the clients of the channel, once the process before this one is gone and writes no more.

        After the first answer over HTTP: a whole backlog may wait for that, and what starts here takes turns with it.
        """
        if not context.wait_to_succeed():
            return False
        outbox.catch_up()
        hub.start()
        upkeep.start()
        return True

    try:
        return _serve_http(context, http, succeed)
    finally:
        upkeep.stop()
        hub.stop()


def _serve_http(context: ChildContext, http: HttpServer, succeed: Callable[[], bool]) -> int:
    self_check = SelfCheck(
        _reachable(http.address),
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


def make_wsgi_app(
    app: Flask, services: Services, address: tuple[str, int], allowed_hosts: tuple[str, ...] = ()
) -> WSGIApplication:
    """Return what is served at `address`: the log around the gates around the application."""
    devices = DeviceStore(services.database)
    keyed = DeviceGate(app.wsgi_app, devices, services.now_ms, is_required=_is_exposed(address[0], allowed_hosts))
    return RequestLog(HostGate(keyed, HostRules(*address, allowed_hosts)), services.metrics.request)


def _open_outbox(database: Database, metrics: Metrics) -> OutboxLog:
    def committed(seq: int, payload: Payload) -> None:
        if payload.get("type") == MARK_TYPE:
            metrics.mark_committed(seq)

    try:
        return OutboxLog(database, on_committed=committed)
    except DatabaseUnusableError as error:
        raise ChildSetupError(f"cannot read {database.path}: {error}: {REMEDY}") from error


def _handed_sockets(context: ChildContext) -> tuple[Listener, socket.socket]:
    if context.listener is None or context.http_socket is None:
        raise ChildSetupError("the server was started without its sockets: start it with run.py")
    return context.listener, context.http_socket


def _reachable(address: tuple[str, int]) -> tuple[str, int]:
    """Return where this process itself reaches what is bound to `address`."""
    host, port = address
    if is_wildcard(host):
        host = "::1" if ":" in host else "127.0.0.1"
    return host, port


def _is_exposed(host: str, allowed_hosts: tuple[str, ...]) -> bool:
    """Whether requests of other machines arrive. Who gives the server further names has a proxy bring them."""
    return not is_loopback(host) or bool(allowed_hosts)


def _require_keys(context: ChildContext, database: Database, host: str) -> None:
    settings = context.settings
    how = f"--host {host}" if not is_loopback(host) else f"--allowed-hosts {','.join(settings.allowed_hosts)}"
    if _is_exposed(host, settings.allowed_hosts) and not DeviceStore(database).has_any():
        raise ChildSetupError(
            f"other machines can reach the server ({how}) and no device has a key yet; make one with"
            f" `run.py devices add NAME --state-dir {shlex.quote(settings.state_dir)}`, then `run.py restart server`"
        )
