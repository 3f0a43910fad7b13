"""Proving the authkey to each other before a byte is believed. Runs on the thread of the connection.

The dance is the standard library's own, so that the stock `multiprocessing.connection.Client` can join in; it only
gets a connection whose every read and write ends at one overall deadline.
"""

import os
import socket
import struct
import time
from collections.abc import Callable
from multiprocessing import AuthenticationError
from multiprocessing.connection import answer_challenge, deliver_challenge

from ipc.errors import ProtocolError
from ipc.framing import frame

_HEADER = struct.Struct(">i")
_CREDENTIALS = struct.Struct("3i")

# What a handshake with a stranger can end with. AssertionError: Python 3.11 answers a bad challenge that way.
_HANDSHAKE_ERRORS = (AuthenticationError, EOFError, OSError, AssertionError, ValueError)


class DeadlineStream:
    """A socket that is read in exact pieces up to one overall deadline (monotonic). Takes no byte too many."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._socket = sock
        self._deadline = deadline

    def send_bytes(self, body: bytes) -> None:
        self._bound_by_deadline()
        self._socket.sendall(frame(body))

    def recv_bytes(self, max_bytes: int) -> bytes:
        (length,) = _HEADER.unpack(self._recv_exactly(_HEADER.size))
        if not 0 < length <= max_bytes:
            raise ProtocolError("frame_length", f"a frame of {length} bytes; 1..{max_bytes} are allowed")
        return self._recv_exactly(length)

    def _recv_exactly(self, count: int) -> bytes:
        received = b""
        while len(received) < count:
            self._bound_by_deadline()
            piece = self._socket.recv(count - len(received))
            if not piece:
                raise EOFError("closed by the peer")
            received += piece
        return received

    def _bound_by_deadline(self) -> None:
        remaining_s = self._deadline - time.monotonic()
        if remaining_s <= 0:
            raise TimeoutError("timed out")
        self._socket.settimeout(remaining_s)


def peer_process(sock: socket.socket) -> tuple[int, int]:
    """Return (pid, uid) of the process that opened the other end."""
    raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, _gid = _CREDENTIALS.unpack(raw)
    return pid, uid


def check_same_user(uid: int) -> None:
    """Raise ProtocolError unless the peer runs as our user."""
    if uid != os.geteuid():
        raise ProtocolError("wrong_uid", f"uid {uid} may not connect to a socket of uid {os.geteuid()}")


def authenticate_client(stream: DeadlineStream, authkey: bytes) -> None:
    """Do the listener's part. Raises ProtocolError: "unauthorized", "handshake_timeout" or "handshake_failed"."""
    _dance((deliver_challenge, answer_challenge), stream, authkey)


def authenticate_server(stream: DeadlineStream, authkey: bytes) -> None:
    """Do the client's part. Raises ProtocolError like `authenticate_client`."""
    _dance((answer_challenge, deliver_challenge), stream, authkey)


def _dance(steps: tuple[Callable[..., None], ...], stream: DeadlineStream, authkey: bytes) -> None:
    try:
        for step in steps:
            step(stream, authkey)
    except AuthenticationError as error:
        raise ProtocolError("unauthorized", f"wrong authkey ({error})") from error
    except TimeoutError as error:
        raise ProtocolError("handshake_timeout", "the handshake took too long") from error
    except _HANDSHAKE_ERRORS as error:
        raise ProtocolError("handshake_failed", f"{type(error).__name__}: {error}") from error
