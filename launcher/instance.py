"""One instance per socket and per state directory.

Owns both locks and the wait for an instance that is just dying. Runs on the main thread before anything is bound.
"""

from __future__ import annotations

import fcntl
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec
import psutil

from ipc.endpoint import InstanceLock
from ipc.errors import AddressError, AlreadyRunningError
from launcher.errors import InstanceRunningError, refused
from launcher.handover import InheritedFd
from launcher.remains import STATE_LOCK, end_holders

_WAIT_FOR_DYING_S = 3.0
_DYING_TAKES_S = 1.5


def lock_path(socket_path: str) -> str:
    """Return the path of the lock that goes with a socket."""
    return f"{socket_path}.lock"


class Locks(msgspec.Struct, frozen=True):
    """The locks of an instance. `was_abandoned`: the last launcher on this socket had no time to clean up."""

    descriptors: tuple[InheritedFd, ...]
    was_abandoned: bool


@contextmanager
def locked(socket_path: str, state_dir: str) -> Iterator[Locks]:
    """Hold both locks. Raises InstanceRunningError, SettingsError, or LauncherError where the disk is full."""
    with ExitStack() as stack:
        held = []
        for option, path in (
            (f"--socket {socket_path}", lock_path(socket_path)),
            (f"--state-dir {state_dir}", str(Path(state_dir, STATE_LOCK))),
        ):
            lock = InstanceLock(path)
            _acquire(lock, option)
            stack.callback(lock.release)
            held.append(lock)
        yield Locks(tuple(InheritedFd(lock.fileno()) for lock in held), held[0].was_abandoned)


def _acquire(lock: InstanceLock, option: str) -> None:
    try:
        if _is_taken(lock):
            return
        # Its launcher was killed; processes of it that are just dying still share the lock.
        waiter = _wait_until_free(lock.path, _DYING_TAKES_S)
        if waiter.is_alive() and not _is_taken(lock):
            end_holders(lock.path)
            waiter.join(_WAIT_FOR_DYING_S - _DYING_TAKES_S)
        if lock.fileno() < 0:
            lock.acquire()
    except AlreadyRunningError as error:
        holder = f"pid {error.pid}" if error.pid else "another process"
        raise InstanceRunningError(f"already running: {holder} uses {option}") from error
    except AddressError as error:
        raise refused(option, error) from error


def _is_taken(lock: InstanceLock) -> bool:
    """Take the lock; False if its holder is dead, and only processes of it are left. Raises AlreadyRunningError."""
    try:
        lock.acquire()
    except AlreadyRunningError as error:
        if error.pid is not None and is_alive(error.pid):
            raise
        return False
    return True


def is_alive(pid: int) -> bool:
    """Whether a process of this pid runs; a zombie does not."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _wait_until_free(path: str, timeout_s: float) -> threading.Thread:
    """Wait for a lock; return who still waits for it if that took too long."""
    # flock has no timeout: a thread waits for it, and is left behind when it takes too long.
    waiter = threading.Thread(target=_touch_lock, args=(path,), name="lock-waiter", daemon=True)
    waiter.start()
    waiter.join(timeout_s)
    return waiter


def _touch_lock(path: str) -> None:
    try:
        with Path(path).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
    except FileNotFoundError:
        pass  # released and removed meanwhile
