"""What can be seen of an instance from outside, changing nothing: who holds the lock of its socket.

Owns telling a running launcher from what a killed one has left behind. Must not know the control plane. Any thread.
"""

from __future__ import annotations

import errno
import fcntl
import os
import pwd

import msgspec

from launcher.errors import LauncherError, NoInstanceError
from launcher.instance import is_alive, lock_path

_NOTHING_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG)


class Lock(msgspec.Struct, frozen=True, kw_only=True):
    """A lock file as it is now. `pid` is of its launcher if that lives; `is_held`: of anybody, a dying child too."""

    path: str
    exists: bool = False
    owner_uid: int = -1
    pid: int | None = None
    is_held: bool = False


def read_lock(path: str) -> Lock:
    """Look at a lock file. Raises OSError when it is there and cannot be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return Lock(path=path)
    try:
        is_held = _is_locked(descriptor)
        # A pid that nobody holds the lock for is of a process that was killed, or of a later one with its number.
        pid = _live_pid(descriptor) if is_held else None
        return Lock(path=path, exists=True, owner_uid=os.fstat(descriptor).st_uid, pid=pid, is_held=is_held)
    finally:
        os.close(descriptor)


def find_launcher(socket_path: str) -> int:
    """Return the pid of the launcher on this socket. Raises NoInstanceError, or LauncherError when it is not ours."""
    path = lock_path(socket_path)
    try:
        owner_uid = os.lstat(path).st_uid
        if owner_uid != os.geteuid():
            raise LauncherError(
                f"refused: the instance on {socket_path} belongs to {user_name(owner_uid)}, you are "
                f"{user_name(os.geteuid())}; run this as {user_name(owner_uid)}"
            )
        pid = read_lock(path).pid
    except OSError as error:
        if error.errno not in _NOTHING_THERE:
            raise LauncherError(f"cannot read {path}: {error.strerror}") from error
        pid = None
    if pid is None:
        raise NoInstanceError(f"no launcher runs on {socket_path}; start one, or name another with --socket")
    return pid


def user_name(uid: int) -> str:
    """Return what a user is called."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def _is_locked(descriptor: int) -> bool:
    """Tell whether anybody holds the lock.

    Where nobody does it is ours for a few microseconds: a launcher that starts at that moment waits for it.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    return False


def _live_pid(descriptor: int) -> int | None:
    text = os.pread(descriptor, 32, 0).strip()
    pid = int(text) if text.isdigit() else 0
    return pid if pid > 0 and is_alive(pid) else None
