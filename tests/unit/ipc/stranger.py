"""A peer written on a bare socket and the standard library alone, that may break every rule."""

import json
import socket
import struct
from multiprocessing.connection import Connection, answer_challenge, deliver_challenge
from typing import Any

from tests.unit.ipc.channel import KEY, WITHIN_S


class Stranger:
    """Connects to a server, and says what it is told to say."""

    def __init__(self, path: str) -> None:
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(path)  # without a timeout, so that a full backlog is waited for
        sock.settimeout(WITHIN_S)
        self.socket = sock

    def __enter__(self) -> "Stranger":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def authenticate(self, key: bytes = KEY) -> "Stranger":
        """Do the client's part of the handshake."""
        answer_challenge(self, key)  # type: ignore[arg-type]
        deliver_challenge(self, key)  # type: ignore[arg-type]
        return self

    def greet(self, client: str = "stranger", **members: Any) -> dict[str, Any]:
        """Authenticate and say hello; return the welcome."""
        self.authenticate()
        self.say({"op": "hello", "protocol": 1, "client": client, **members})
        [welcome] = self.hear()
        assert welcome["op"] == "welcome"
        return welcome

    def say(self, *objects: dict[str, Any]) -> None:
        """Send `objects` in one frame."""
        self.send_bytes("\n".join(map(json.dumps, objects)).encode())

    def write(self, raw: bytes) -> None:
        """Send bytes as they are."""
        self.socket.sendall(raw)

    def hear(self) -> list[dict[str, Any]]:
        """Return the objects of the next frame; frames of a handshake that was not finished are passed over."""
        body = b"#"
        while body.startswith(b"#"):
            body = self.recv_bytes()
        return [json.loads(line) for line in body.split(b"\n")]

    def hear_until(self, op: str) -> list[dict[str, Any]]:
        """Return all objects up to the first with this op."""
        heard: list[dict[str, Any]] = []
        while not heard or heard[-1]["op"] != op:
            heard += self.hear()
        return heard

    def hear_to_the_end(self) -> list[dict[str, Any]]:
        """Return everything that is said until the server hangs up."""
        heard = []
        try:
            while True:
                heard += self.hear()
        except (EOFError, ConnectionResetError):
            return heard

    def send_bytes(self, body: bytes) -> None:
        self.write(struct.pack(">i", len(body)) + body)

    def recv_bytes(self, max_bytes: int | None = None) -> bytes:
        (length,) = struct.unpack(">i", self._recv_exactly(4))
        assert max_bytes is None or length <= max_bytes
        return self._recv_exactly(length)

    def _recv_exactly(self, count: int) -> bytes:
        received = bytearray()
        while len(received) < count:
            piece = self.socket.recv(count - len(received))
            if not piece:
                raise EOFError
            received += piece
        return bytes(received)


def stock_connection(path: str) -> Connection:
    """Return an unauthenticated `Connection` of the standard library."""
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(path)
    return Connection(sock.detach())
