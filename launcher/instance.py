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

_WAIT_FOR_DYING_S = 3.0


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
            (f"--state-dir {state_dir}", str(Path(state_dir, "launcher.lock"))),
        ):
            lock = InstanceLock(path)
            _acquire(lock, option)
            stack.callback(lock.release)
            held.append(lock)
        yield Locks(tuple(InheritedFd(lock.fileno()) for lock in held), held[0].was_abandoned)


def _acquire(lock: InstanceLock, option: str) -> None:
    try:
        try:
            lock.acquire()
        except AlreadyRunningError as error:
            if error.pid is not None and is_alive(error.pid):
                raise
            # Its launcher was killed; children of it that are just dying still share the lock.
            _wait_until_free(lock.path, _WAIT_FOR_DYING_S)
            lock.acquire()
    except AlreadyRunningError as error:
        holder = f"pid {error.pid}" if error.pid else "another process"
        raise InstanceRunningError(f"already running: {holder} uses {option}") from error
    except AddressError as error:
        raise refused(option, error) from error


def is_alive(pid: int) -> bool:
    """Whether a process of this pid runs; a zombie does not."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _wait_until_free(path: str, timeout_s: float) -> None:
    # flock has no timeout: a thread waits for it, and is left behind when it takes too long.
    waiter = threading.Thread(target=_touch_lock, args=(path,), name="lock-waiter", daemon=True)
    waiter.start()
    waiter.join(timeout_s)


def _touch_lock(path: str) -> None:
    try:
        with Path(path).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
    except FileNotFoundError:
        pass  # released and removed meanwhile
