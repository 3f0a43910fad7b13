"""Every error that ipc raises; the class says whose fault it is.

`LocalError`s are the caller's to mend and reach the caller. A `ProtocolError` is the peer's: it ends that one
connection and is counted, and no caller ever sees it.
"""


class IpcError(Exception):
    """Base of all errors of this package."""


class LocalError(IpcError):
    """Something on this side is wrong, and the message says what to change."""


class AddressError(LocalError):
    """The socket path cannot be used: too long, not a socket, in use, or its directory is not writable."""


class AlreadyRunningError(AddressError):
    """A live process holds the lock of this path.

    `pid` is the holder's, or None when the lock file does not say.
    """

    def __init__(self, message: str, pid: int | None) -> None:
        super().__init__(message)
        self.pid = pid


class AuthkeyError(LocalError):
    """There is no usable authkey: none given, too short, or a key file that others could read."""


class PayloadError(LocalError, ValueError):
    """A payload that cannot travel as JSON; the message names the path of the culprit."""


class RequestError(IpcError):
    """A request ended without a reply.

    `code` is one of "timeout", "disconnected", "outbox_full", "stopped" (this side) or what the other side answered
    with: "handler_failed", "unknown_request", "reply_too_large", or a code of the application's own.
    """

    def __init__(self, code: str, message: str) -> None:
        self.code = as_text(code)  # 404 and None are written by hand too, and go over the wire
        self.message = as_text(message)
        super().__init__(f"{self.code}: {self.message}")


class ProtocolError(IpcError):
    """The peer broke the protocol. `kind` is the name under which it is counted."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason


def as_text(value: object) -> str:
    """Return `str(value)`, or, of what has none, its type."""
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - an exception of the application may raise another when it is shown
        return f"<{type(value).__name__} without a text>"
