"""What doctor looks at of an instance, running or to be: socket, locks, key, port, state directory, health.

Owns these checks. Changes nothing: a lock is left as it is found, and a port is looked up, never bound.
"""

from __future__ import annotations

import http.client
import os
import shutil
import socket
import stat
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

from ipc.authkey import key_path, load_key
from ipc.endpoint import refuse_to_replace
from ipc.errors import AddressError, AuthkeyError
from launcher.findings import Findings, ok, problem, warning
from launcher.instance import lock_path
from launcher.presence import Lock, read_lock, user_name
from launcher.settings import Settings
from launcher.sizes import size_words

_SCARCE_BYTES = 50 << 20
_LOW_BYTES = 500 << 20
_HTTP_S = 2.0
_END_IT = "kill the launcher's pid, which is an orderly stop"
_ANY = ("0.0.0.0", "::")  # noqa: S104 - compared with, not bound to


def lock_findings(socket_path: str) -> Findings:
    """Look at the lock of the socket."""
    try:
        lock = lock_of(lock_path(socket_path))
    except OSError as error:
        yield problem("lock", f"{lock_path(socket_path)} cannot be used: {error.strerror}", "remove it")
        return
    if lock.exists and lock.owner_uid != os.geteuid():
        owner = user_name(lock.owner_uid)
        yield problem("lock", f"{lock.path} belongs to {owner}", f"run this as {owner}, or choose another --socket")
    elif lock.pid is not None:
        yield ok("lock", f"held by pid {lock.pid}")
    elif lock.is_held:
        yield warning(
            "lock",
            f"{lock.path} is held by what a killed launcher has left behind",
            f"if it does not end by itself within 3 s, find it: fuser -v {lock.path}",
        )
    elif lock.exists:
        yield warning(
            "lock", f"{lock.path} is stale: its launcher was killed", "nothing to do: the next start takes it"
        )
    else:
        yield ok("lock", "free")


def socket_findings(settings: Settings, pid: int | None) -> Findings:
    """Look at both socket files; those of a running instance have to be there."""
    remedies = (f"run.py restart server, or kill -HUP {pid}", f"kill {pid}, which is an orderly stop, and start again")
    topics = (("socket", settings.socket), ("control socket", settings.control_socket))
    for (topic, path), remedy in zip(topics, remedies, strict=True):
        if pid is not None:
            if _is_socket(path):
                yield ok(topic, f"{path}, of pid {pid}")
            else:
                yield problem(topic, f"{path} is not there, though pid {pid} runs", remedy)
            continue
        try:
            refuse_to_replace(path)
        except AddressError as error:
            yield problem(topic, str(error), "move it away, stop who listens there, or choose another --socket")
            continue
        if os.path.lexists(path):
            yield warning(topic, f"{path} is stale: nobody listens", "nothing to do: the next start replaces it")
        else:
            yield ok(topic, f"{path} is free")


def key_findings(socket_path: str, pid: int | None) -> Findings:
    """Look at the key file, and never show what is in it."""
    path = key_path(socket_path)
    if not os.path.lexists(path):
        if pid is None:
            yield ok("key file", f"{path} is made at the start")
        else:
            yield problem("key file", f"{path} is not there: no client can log in", f"{_END_IT}, and start again")
        return
    try:
        load_key(path)
    except AuthkeyError as error:
        yield problem("key file", str(error), "as it says; a new one is made at the next start")
    else:
        yield ok("key file", f"{path}, mode {stat.S_IMODE(os.stat(path).st_mode):04o}")


def port_findings(settings: Settings, pid: int | None) -> Findings:
    """Look up who listens on the port."""
    if settings.port == 0:
        yield ok("port", "0: a free one is taken at the start")
        return
    where = f"{settings.host}:{settings.port}"
    addresses = {
        str(found[4][0]) for found in socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)
    }
    listeners = [
        each.pid
        for each in psutil.net_connections("tcp")
        if each.status == psutil.CONN_LISTEN
        and each.laddr
        and each.laddr.port == settings.port
        and (each.laddr.ip in addresses or each.laddr.ip in _ANY)
    ]
    ours = _tree(pid)
    if not listeners:
        yield _allowed(settings.port, where)
    elif any(listener in ours for listener in listeners):
        yield ok("port", f"{where}, of this instance")
    else:
        holder = next(
            (_described(listener) for listener in listeners if listener is not None), "another user's program"
        )
        yield problem(
            "port", f"{where} is in use by {holder}", "stop that, or choose another --port; 0 takes a free one"
        )


def state_findings(settings: Settings, pid: int | None) -> Findings:
    """Look at the state directory: whether it can be written to, by whom it is used, how much room there is."""
    path = Path(settings.state_dir)
    existing = next(parent for parent in (path, *path.parents) if parent.exists())
    if not existing.is_dir():
        yield problem("state directory", f"{existing} is not a directory", "choose another --state-dir")
        return
    if not os.access(existing, os.W_OK | os.X_OK):
        yield problem("state directory", f"{existing} is not writable", "choose a --state-dir that you can write to")
        return
    yield from _privacy(path)
    lock = lock_of(str(path / "launcher.lock"))
    if lock.pid is not None and lock.pid != pid:
        yield problem(
            "state directory", f"{path} is used by pid {lock.pid}", "stop that, or choose another --state-dir"
        )
    yield _room(existing)


def instance_findings(socket_path: str, status: dict[str, Any] | None, trouble: str) -> Findings:
    """Look at the children of a running instance. `trouble`: why its status cannot be had."""
    if trouble:
        yield problem("instance", trouble, f"{_END_IT}; if it does not react, kill -9: its children end with it")
        return
    if status is None:
        yield ok("instance", f"none runs on {socket_path}")
        return
    yield ok("instance", f"pid {status['pid']}, {'stopping' if status['is_stopping'] else 'running'}")
    for child in status["children"]:
        yield from _child_findings(child)
    yield from _http_findings(status["url"])


def _child_findings(child: dict[str, Any]) -> Findings:
    name, state = child["name"], child["state"]
    why = f": {child['reason']}" if child["reason"] else ""
    if state == "RUNNING":
        yield ok(name, f"RUNNING, pid {child['pid']}, {child['restarts']} restarts")
    elif state == "FATAL":
        yield problem(name, f"given up{why}", f"remove the cause, then: run.py restart {name}")
    else:
        yield warning(name, f"{state}{why}", "wait a moment, or look at the log: run.py tail")


def _http_findings(url: str) -> Findings:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=_HTTP_S)
    try:
        connection.request("GET", "/readyz")
        code = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        yield problem("http", f"{url}/readyz does not answer: {error}", "look at the log: run.py tail")
        return
    finally:
        connection.close()
    if code == http.client.OK:
        yield ok("http", f"{url}/readyz answers 200")
    else:
        yield warning("http", f"{url}/readyz answers {code}", "look at the log: run.py tail")


def lock_of(path: str) -> Lock:
    """Return what can be told of a lock, also of somebody else's."""
    try:
        return read_lock(path)
    except PermissionError:
        return Lock(path=path, exists=True, owner_uid=os.lstat(path).st_uid)


def _is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(os.lstat(path).st_mode)
    except OSError:
        return False


def _tree(pid: int | None) -> set[int]:
    if pid is None:
        return set()
    try:
        launcher = psutil.Process(pid)
        return {pid, *(process.pid for process in launcher.children(recursive=True))}
    except psutil.Error:
        return {pid}


def _described(pid: int) -> str:
    try:
        return f"pid {pid} ({psutil.Process(pid).name()})"
    except psutil.Error:
        return f"pid {pid}"


def _allowed(port: int, where: str) -> Any:
    try:
        first = int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    except (OSError, ValueError):
        first = 1024
    if port < first and os.geteuid() != 0:
        return problem("port", f"{where}: only root may listen below {first}", f"choose a --port from {first} up")
    return ok("port", f"{where} is free")


def _privacy(path: Path) -> Findings:
    if not path.exists():
        yield ok("state directory", f"{path} is made at the start")
        return
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        yield warning("state directory", f"{path}, mode {mode:04o}: others can look into it", f"chmod 700 {path}")
    else:
        yield ok("state directory", f"{path}, mode {mode:04o}")


def _room(directory: Path) -> Any:
    free_bytes = shutil.disk_usage(directory).free
    detail = f"{size_words(free_bytes)} free in {directory}"
    if free_bytes < _SCARCE_BYTES:
        return problem("disk", detail, "make room: marks cannot be stored on a full disk")
    return warning("disk", detail, "make room soon") if free_bytes < _LOW_BYTES else ok("disk", detail)
