"""The socket file: who may bind it, how it appears and how it goes. Knows paths and locks, nothing of messages.

One lock per path decides who owns it: `<path>.lock`, held for as long as any process of the owner lives. With the lock
in hand a socket file that is already there is stale by definition, unless its server never took the lock; so a file
that still answers a connect is left alone too.
"""

import errno
import fcntl
import os
import secrets
import socket
import stat
from multiprocessing import reduction
from multiprocessing.connection import Listener, SocketListener  # type: ignore[attr-defined]
from typing import Any, cast

from ipc import fork
from ipc.authkey import key_path, remove_key, resolve_key
from ipc.errors import AddressError, AlreadyRunningError

DEFAULT_SOCKET_PATH = "/tmp/axon-attendance.sock"  # noqa: S108 - the promised path; mode 0600, lock and authkey guard it
MAX_PATH_BYTES = 107
BACKLOG = 1024


def check_path(path: str) -> str:
    """Return `path` if a Unix socket can be bound there. Raises AddressError in one line otherwise."""
    encoded = os.fsencode(path)
    if not encoded or b"\0" in encoded:
        raise AddressError(f"socket path {path!r}: give the path of a file to be")
    if len(encoded) > MAX_PATH_BYTES:
        raise AddressError(f"socket path has {len(encoded)} bytes, {MAX_PATH_BYTES} are possible: {path}")
    return path


class InstanceLock:
    """An exclusive lock on a file that names its holder's pid.

    Its descriptor may be shared with child processes: then it is held until the last of them is gone.
    `was_abandoned` tells, once it is ours, that the last holder died with it.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.was_abandoned = False
        self._descriptor = -1

    def fileno(self) -> int:
        return self._descriptor

    def acquire(self) -> None:
        """Take the lock or raise AlreadyRunningError; AddressError if the file cannot be made. Never waits."""
        descriptor = self._open_and_lock()
        while not _is_at(descriptor, self.path):
            os.close(descriptor)  # the last holder removed the file between our open and our lock
            descriptor = self._open_and_lock()
        self._descriptor = descriptor
        self.was_abandoned = _read_pid(descriptor) is not None  # its last holder had no time to remove it
        try:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        except OSError as error:
            self.release()
            raise AddressError(f"cannot write {self.path}: {error.strerror}") from error

    def release(self) -> None:
        """Remove the file and let go. A lock that is not held is left as it is."""
        if self._descriptor < 0:
            return
        if _is_at(self._descriptor, self.path):
            os.unlink(self.path)
        os.close(self._descriptor)
        self._descriptor = -1

    def _open_and_lock(self) -> int:
        try:
            descriptor = os.open(
                self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, 0o600
            )
        except OSError as error:
            raise AddressError(f"cannot create {self.path}: {error.strerror}") from error
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise AddressError(f"lock file {self.path} is not a regular file; remove it")
            self._lock(descriptor)
        except AddressError:
            os.close(descriptor)
            raise
        return descriptor

    def _lock(self, descriptor: int) -> None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise AddressError(f"lock file {self.path} cannot be locked: {error.strerror}") from error
            pid = _read_pid(descriptor)
            holder = f"pid {pid}" if pid else "another process"
            raise AlreadyRunningError(f"already running: {holder} holds {self.path}", pid) from error


def _read_pid(descriptor: int) -> int | None:
    text = os.pread(descriptor, 32, 0).strip()
    return int(text) if text.isdigit() else None


def _is_at(descriptor: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path, follow_symlinks=False))
    except FileNotFoundError:
        return False


class Endpoint:
    """A socket path that is ours: its lock, its key and its listener, which come and go together."""

    def __init__(self, path: str, authkey: bytes | None = None) -> None:
        """Lock `path`, find or make its key, bind it. Raises AddressError (AlreadyRunningError) or AuthkeyError."""
        check_path(path)
        self.path = path = os.path.abspath(path)  # the program may change its directory before it closes this
        self.authkey = b""
        self._is_key_ours = False
        self._generation = fork.generation
        self.lock = InstanceLock(f"{path}.lock")
        self.lock.acquire()
        try:
            refuse_to_replace(path)
            self._is_key_ours = self.lock.was_abandoned or not os.path.lexists(key_path(path))
            self.authkey = resolve_key(path, authkey, create=True)
            self._bound = bind_listener(path, self.authkey)
        except BaseException:
            self._remove_key()
            self.lock.release()
            raise
        self.listener = self._bound.listener

    def close(self) -> None:
        """Remove the socket file, the key file and the lock file, as far as they are ours, which a fork's never are."""
        if self._generation != fork.generation:
            return
        self._bound.close()
        self._remove_key()
        self.lock.release()

    def _remove_key(self) -> None:
        if self._is_key_ours:
            remove_key(key_path(self.path), self.authkey)


class BoundListener:
    """A listening socket file of ours: `listener` accepts, `path` is where it is found."""

    def __init__(self, listener: Listener, path: str) -> None:
        self.listener = listener
        self.path = path
        self._identity: os.stat_result | None = os.lstat(path)

    def is_in_place(self) -> bool:
        """Whether the file at `path` is still ours: somebody may have removed or replaced it."""
        if self._identity is None:
            return False
        try:
            return os.path.samestat(self._identity, os.lstat(self.path))
        except OSError:
            return False

    def close(self) -> None:
        """Stop listening, and remove the file if the one at `path` is still ours. A second call does nothing."""
        is_in_place = self.is_in_place()
        self._identity = None
        self.listener.close()
        if is_in_place:
            try:
                os.unlink(self.path)
            except FileNotFoundError:
                pass  # somebody has just removed it


def bind_listener(path: str, authkey: bytes) -> BoundListener:
    """Bind and listen at `path`; the caller holds the lock of the path.

    The socket is bound inside a directory that only we can enter, made private, and renamed onto `path`: whoever sees
    it can connect, and nobody else ever could. Raises AddressError.
    """
    refuse_to_replace(path)
    try:
        directory = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            listener = _bind_in(directory, os.path.basename(path), authkey)
        finally:
            os.close(directory)
    except OSError as error:
        raise AddressError(f"cannot bind {path}: {error.strerror or error}") from error
    _inner(listener)._address = path
    return BoundListener(listener, path)


def _bind_in(directory: int, name: str, authkey: bytes) -> Listener:
    private = f".axon-{secrets.token_hex(4)}"
    os.mkdir(private, 0o700, dir_fd=directory)
    hidden = f"{private}/s"
    try:
        # By way of the descriptor the hidden name is short, however near to the limit the real one is.
        listener = Listener(f"/proc/self/fd/{directory}/{hidden}", "AF_UNIX", backlog=BACKLOG, authkey=authkey)
        try:
            _forget_unlink(listener)
            os.chmod(hidden, 0o600, dir_fd=directory)
            os.rename(hidden, name, src_dir_fd=directory, dst_dir_fd=directory)
        except OSError:
            listener.close()
            os.unlink(hidden, dir_fd=directory)
            raise
    finally:
        os.rmdir(private, dir_fd=directory)
    return listener


def refuse_to_replace(path: str) -> None:
    """Raise AddressError if what is at `path` is anything but a dead socket."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise AddressError(f"cannot bind {path}: {error.strerror}") from error
    if not stat.S_ISSOCK(mode):
        raise AddressError(f"{path} exists and is not a socket; move it away or choose another path")
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except (ConnectionRefusedError, FileNotFoundError):
            return
        except OSError:
            pass  # a full backlog, another type of socket, somebody else's: not known to be dead
    raise AddressError(f"a live server answers at {path}; stop it or choose another path")


def listening_socket(listener: Listener) -> socket.socket:
    """Return the socket inside a `Listener`, which has no public name: only it can accept without authenticating."""
    inner_socket: socket.socket = _inner(listener)._socket
    return inner_socket


def _inner(listener: Listener) -> Any:
    return cast(Any, listener)._listener


def _forget_unlink(listener: Listener) -> None:
    """Keep `listener` from removing its file when it is closed or collected: whoever bound it does that."""
    inner = _inner(listener)
    if inner._unlink is not None:
        inner._unlink.cancel()
        inner._unlink = None


def _reduce_listener(listener: Listener) -> tuple[Any, ...]:
    """Let a `Listener` travel to a spawned child. As it is it does not pickle, since it holds a weak reference."""
    inner = _inner(listener)
    handle = reduction.DupFd(inner._socket.fileno())
    return _rebuild_listener, (handle, inner._address, cast(Any, listener)._authkey)


def _rebuild_listener(handle: Any, address: str, authkey: bytes | None) -> Listener:
    """Make a `Listener` around an inherited descriptor. It never removes the socket file."""
    inner: Any = object.__new__(SocketListener)
    inner._socket = socket.socket(fileno=handle.detach())
    inner._address = address
    inner._family = "AF_UNIX"
    inner._last_accepted = None
    inner._unlink = None
    listener: Any = object.__new__(Listener)
    listener._listener = inner
    listener._authkey = authkey
    return cast(Listener, listener)


reduction.register(Listener, _reduce_listener)
