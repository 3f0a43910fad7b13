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
from launcher.control import ControlPlane, StopAll, Told
from launcher.crash_reports import CrashReports, Source
from launcher.descendants import Descendants
from launcher.errors import EXIT_FAILED, InstanceRunningError, SettingsError, refused
from launcher.guard import Guard
from launcher.instance import Locks, locked
from launcher.log_outputs import make_writers
from launcher.logs import LogPipeline
from launcher.memory_limit import MemoryLimit
from launcher.process import stop_resource_tracker
from launcher.process_table import Supplies
from launcher.sample_reports import SampleReports
from launcher.sampling import Sampler
from launcher.sd_notify import Notifier, take_service
from launcher.settings import Settings, allowed_hosts_of, make_state_dir, why_offscreen
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
        means.logs.hide(authkey)
        _start_logs(settings, means)
        service = Notifier(take_service(os.environ))
        stack.callback(service.close)
        first = Snapshot(
            run_id=means.run_id,
            pid=os.getpid(),
            started_s=means.started_s,
            socket=settings.socket,
            control_socket=settings.control_socket,
            url=sockets.url,
        )
        sampler = Sampler()
        crashes = _crash_reports(settings, means, sampler)
        stack.callback(crashes.close, _FLUSH_S)
        told = Told(sampler=sampler, log=means.logs.ring, crash_reports=crashes.last)
        control = ControlPlane(settings.control_socket, authkey, means.wakeup.post, first, told)
        stack.callback(control.stop)
        _listen(control)
        sampler.start(_sample_reports(settings, control, means))
        stack.callback(sampler.stop)
        descendants = Descendants()
        descendants.become_reaper()
        guard = Guard(descendants.marks, means.locks.descriptors)
        guard.start()  # before the first child: a kill at any moment finds it there
        stack.callback(guard.stop, _HELPER_S)
        stack.callback(stop_resource_tracker, _HELPER_S)
        audience = _Audience(control=control, sampler=sampler, service=service, crashes=crashes)
        served = _Served(
            means=means, sockets=sockets, audience=audience, first=first, descendants=descendants, guard=guard
        )
        return _supervise(settings, specs, served)


class _Audience(msgspec.Struct, frozen=True, kw_only=True):
    """Who follows how the children are. Called by the supervisor's thread."""

    control: ControlPlane
    sampler: Sampler
    service: Notifier
    crashes: CrashReports

    def publish(self, snapshot: Snapshot) -> None:
        """Let all of them know."""
        self.sampler.watch(snapshot)
        self.control.publish(snapshot)
        self.service.publish(snapshot)


class _Served(msgspec.Struct, frozen=True, kw_only=True):
    """What a launch serves, and who is told of it."""

    means: _Means
    sockets: ServerSockets
    audience: _Audience
    first: Snapshot
    descendants: Descendants
    guard: Guard


def _supervise(settings: Settings, specs: tuple[ChildSpec, ...], served: _Served) -> int:
    means = served.means
    launch = Launch(
        specs=specs,
        child_settings=_child_settings(settings, specs, served.first),
        supplies=Supplies(
            locks=means.locks.descriptors,
            sockets=served.sockets,
            descendants=served.descendants,
            log_level=settings.log_level,
        ),
        guard=served.guard,
        exit_on_fatal=settings.exit_on_fatal,
        keeps_spares=not settings.no_spares,
        hang_after_s=settings.hang_after,
        logs=means.logs,
        wakeup=means.wakeup,
        publish=served.audience.publish,
        service=served.audience.service,
        note_death=served.audience.crashes.note,
        first=served.first,
    )
    try:
        return Supervisor(launch).run()
    except Exception:  # noqa: BLE001 - the main thread's top frame: a bug of ours still belongs in the log
        _log.critical("launcher_crashed", exc_info=True)
        return EXIT_FAILED
    finally:
        served.audience.service.stopping()


@contextmanager
def _authkey(socket_path: str, *, is_ours: bool) -> Iterator[bytes]:
    """Yield the key of the instance; children inherit it. A key file that we made, now or last time, goes with us."""
    path = key_path(socket_path)
    is_ours = is_ours or not os.path.lexists(path)
    try:
        authkey = load_or_create_key(path)
    except AuthkeyError as error:
        raise refused(f"--socket {socket_path}", error) from error
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


def _sample_reports(settings: Settings, control: ControlPlane, means: _Means) -> SampleReports:
    limit_bytes = settings.max_rss_bytes
    limit = None if limit_bytes is None else MemoryLimit(limit_bytes)
    return SampleReports(control.tell, means.wakeup.post, limit)


def _crash_reports(settings: Settings, means: _Means, sampler: Sampler) -> CrashReports:
    logs = means.logs
    source = Source(run_id=means.run_id, words_of=logs.last_words, told=logs.told, samples=sampler.recent)
    crashes = CrashReports(Path(settings.state_dir, "crashes"), source)
    crashes.start()
    return crashes


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
        cooldown_s=settings.cooldown_s,
        log_level=settings.log_level,
        allowed_hosts=allowed_hosts_of(settings),
    )
