"""One launch from beginning to end: takes what it needs, runs the supervisor, leaves nothing behind.

Owns the order in which locks, key, sockets and logs are taken and given back. Runs on the main thread, which has to
be the one that spawns: the kernel kills the children when the thread that spawned them ends.
"""

from __future__ import annotations

import multiprocessing
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec
import structlog

from ipc.authkey import key_path, load_or_create_key, remove_key
from ipc.child import ChildSettings
from ipc.errors import AddressError, AlreadyRunningError, AuthkeyError
from launcher.control import ControlPlane, StopAll
from launcher.errors import EXIT_FAILED, InstanceRunningError, SettingsError
from launcher.instance import Locks, locked
from launcher.log_outputs import make_writers
from launcher.logs import LogPipeline
from launcher.process import stop_resource_tracker
from launcher.process_table import Supplies
from launcher.settings import Settings, make_state_dir, why_offscreen
from launcher.sockets import ServerSockets
from launcher.spec import UI, ChildSpec
from launcher.status import Snapshot
from launcher.supervisor import Launch, Supervisor
from launcher.wakeup import Wakeup

_log = structlog.get_logger()
_FLUSH_S = 1.0
_HELPER_S = 0.5


class _Means(msgspec.Struct, frozen=True, kw_only=True):
    """What a launch has in hand once it is sure to be the only one."""

    locks: Locks
    wakeup: Wakeup
    logs: LogPipeline
    run_id: str
    started_s: float


def run(settings: Settings, specs: tuple[ChildSpec, ...]) -> int:
    """Launch, supervise until it is over, return the exit code. Raises LauncherError for what stands in the way."""
    started_s, run_id = time.monotonic(), uuid.uuid4().hex[:12]
    make_state_dir(settings.state_dir)
    with ExitStack() as stack:
        locks = stack.enter_context(locked(settings.socket, settings.state_dir))
        wakeup = Wakeup()
        stack.callback(wakeup.close)
        stack.enter_context(wakeup.catching_signals())
        logs = LogPipeline(run_id)
        stack.callback(logs.close, _FLUSH_S)
        means = _Means(locks=locks, wakeup=wakeup, logs=logs, run_id=run_id, started_s=started_s)
        exit_code = _serve(settings, specs, means)
        uptime_s = round(time.monotonic() - started_s, 3)
        _log.info("shutdown_completed", exit_code=exit_code, uptime_s=uptime_s)
    return exit_code


def _serve(settings: Settings, specs: tuple[ChildSpec, ...], means: _Means) -> int:
    """Bind, log, listen, supervise; on the way out close and remove all that, except the log."""
    with ExitStack() as stack:
        authkey = stack.enter_context(_authkey(settings.socket, is_ours=means.locks.was_abandoned))
        sockets = ServerSockets(settings.socket, settings.host, settings.port, authkey)
        stack.callback(sockets.close)
        sockets.open()
        _start_logs(settings, means)
        first = Snapshot(
            run_id=means.run_id,
            pid=os.getpid(),
            started_s=means.started_s,
            socket=settings.socket,
            control_socket=settings.control_socket,
            url=sockets.url,
        )
        control = ControlPlane(settings.control_socket, authkey, means.wakeup.post, first)
        stack.callback(control.stop)
        _listen(control)
        stack.callback(stop_resource_tracker, _HELPER_S)
        return _supervise(settings, specs, _Served(means=means, sockets=sockets, control=control, first=first))


class _Served(msgspec.Struct, frozen=True, kw_only=True):
    """What a launch serves."""

    means: _Means
    sockets: ServerSockets
    control: ControlPlane
    first: Snapshot


def _supervise(settings: Settings, specs: tuple[ChildSpec, ...], served: _Served) -> int:
    means = served.means
    launch = Launch(
        specs=specs,
        child_settings=_child_settings(settings, specs, served.first),
        supplies=Supplies(locks=means.locks.descriptors, sockets=served.sockets, log_level=settings.log_level),
        exit_on_fatal=settings.exit_on_fatal,
        keeps_spares=not settings.no_spares,
        logs=means.logs,
        wakeup=means.wakeup,
        publish=served.control.publish,
        first=served.first,
    )
    try:
        return Supervisor(launch).run()
    except Exception:  # noqa: BLE001 - the main thread's top frame: a bug of ours still belongs in the log
        _log.critical("launcher_crashed", exc_info=True)
        return EXIT_FAILED


@contextmanager
def _authkey(socket_path: str, *, is_ours: bool) -> Iterator[bytes]:
    """Yield the key of the instance; children inherit it. A key file that we made, now or last time, goes with us."""
    path = key_path(socket_path)
    is_ours = is_ours or not os.path.lexists(path)
    try:
        authkey = load_or_create_key(path)
    except AuthkeyError as error:
        raise SettingsError(f"--socket {socket_path}: {error}") from error
    multiprocessing.current_process().authkey = authkey
    try:
        yield authkey
    finally:
        if is_ours:
            remove_key(path, authkey)


def _start_logs(settings: Settings, means: _Means) -> None:
    def stdout_closed(reason: str) -> None:
        means.wakeup.post(StopAll(reason))

    file = Path(settings.state_dir, "logs", "axon.jsonl")
    writers = make_writers(means.logs, settings.log_format, file, stdout_closed)
    means.logs.configure_structlog(settings.log_level)
    means.logs.start(writers)


def _listen(control: ControlPlane) -> None:
    try:
        control.start()
    except AlreadyRunningError as error:
        raise InstanceRunningError(f"already running: the control socket beside --socket is in use: {error}") from error
    except AddressError as error:
        raise SettingsError(f"--socket: the control socket beside it: {error}") from error


def _child_settings(settings: Settings, specs: tuple[ChildSpec, ...], first: Snapshot) -> ChildSettings:
    reason = why_offscreen(settings.ui, os.environ)
    if reason is not None and UI.name in {spec.name for spec in specs}:
        say = _log.info if settings.ui == "offscreen" else _log.warning
        say("ui_offscreen", reason=reason)
    return ChildSettings(
        name="",
        run_id=first.run_id,
        socket=settings.socket,
        control_socket=settings.control_socket,
        url=first.url,
        state_dir=settings.state_dir,
        offscreen=reason is not None,
        log_payloads=settings.log_payloads,
        log_level=settings.log_level,
    )
