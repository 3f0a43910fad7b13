"""The secret that both ends of a channel prove to each other, and where it is kept.

In order: the key the caller gives; the process's own `multiprocessing` authkey when the launcher started it; the key
file beside the socket, 64 hexadecimal characters and a newline, readable by its owner alone.
"""

import errno
import multiprocessing
import os
import re
import secrets
import stat

from ipc.errors import AuthkeyError

KEY_BYTES = 32
MIN_KEY_BYTES = 16

_inherited = False


def trust_inherited_key() -> None:
    """Say that this process's `multiprocessing` authkey came from the launcher and is the channel's."""
    global _inherited
    _inherited = True


def key_path(address: str) -> str:
    """Return where the key of the socket at `address` is kept."""
    return f"{address}.key"


def resolve_key(address: str, given: bytes | None, *, create: bool) -> bytes:
    """Return the key for the socket at `address`; with `create`, write a key file if there is none.

    Raises AuthkeyError that says which rule the key or its file breaks.
    """
    if given is not None:
        return check_key(given)
    if _inherited:
        return check_key(bytes(multiprocessing.current_process().authkey))
    return load_or_create_key(key_path(address)) if create else load_key(key_path(address))


def check_key(key: bytes) -> bytes:
    """Return `key` if it is fit for use. The standard library hangs on an empty one and fails late on a str."""
    if not isinstance(key, bytes):
        raise AuthkeyError(f"authkey: bytes are needed, not {type(key).__name__}")
    if len(key) < MIN_KEY_BYTES:
        raise AuthkeyError(f"authkey: {len(key)} bytes are too few; use at least {MIN_KEY_BYTES} random bytes")
    return key


def load_key(path: str) -> bytes:
    """Read a key file. Raises AuthkeyError if it is missing, not ours alone, or not a key."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError as error:
        raise AuthkeyError(f"no key file {path}: start the server first, or give an authkey") from error
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise AuthkeyError(f"key file {path} is a symbolic link; remove it") from error
        raise AuthkeyError(f"key file {path} cannot be read: {error.strerror}") from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
            raise AuthkeyError(f"key file {path} is not a regular file of ours; remove it")
        if status.st_mode & 0o077:
            raise AuthkeyError(f"key file {path} can be read by others; chmod 600 it, or remove it for a new key")
        text = os.read(descriptor, 2 * KEY_BYTES + 2)
    finally:
        os.close(descriptor)
    if not re.fullmatch(rb"[0-9a-fA-F]{64}\n?", text):
        raise AuthkeyError(f"key file {path} does not hold 64 hexadecimal characters; remove it for a new key")
    return bytes.fromhex(text.decode())


def load_or_create_key(path: str) -> bytes:
    """Read the key file, or write a new one that appears whole or not at all. Raises AuthkeyError."""
    if os.path.lexists(path):
        return load_key(path)
    fresh = f"{path}.{secrets.token_hex(8)}"
    try:
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            with open(descriptor, "w") as file:
                file.write(secrets.token_hex(KEY_BYTES) + "\n")
            os.link(fresh, path)
        except FileExistsError:
            pass  # another server was faster; its key is the key
        finally:
            os.unlink(fresh)
    except OSError as error:
        raise AuthkeyError(f"key file {path} cannot be written: {error.strerror}") from error
    return load_key(path)


def remove_key(path: str, key: bytes) -> None:
    """Remove the key file if it still holds `key`: whoever comes next makes a new one."""
    try:
        if load_key(path) == key:
            os.unlink(path)
    except (AuthkeyError, FileNotFoundError):
        pass  # there is none, or it is not ours
