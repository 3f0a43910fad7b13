"""A client that connects every few milliseconds and asks for a page, whatever became of its last connection."""

import os
import selectors
import socket
import threading
import time
from dataclasses import dataclass, field

REQUEST = b"GET /healthz HTTP/1.1\r\nHost: %b\r\nConnection: close\r\n\r\n"
OK = b"HTTP/1.1 200 "


@dataclass
class Polls:
    """What became of the connections. Times are monotonic seconds."""

    refused: list[float] = field(default_factory=list)
    """When connections were tried and refused."""
    broken: list[float] = field(default_factory=list)
    """When connections were made that then ended without a 200."""
    answered: list[tuple[float, float]] = field(default_factory=list)
    """When connections were made, and when their 200 came."""

    def first_answer_after(self, moment_s: float) -> float | None:
        """Return when the first 200 came to somebody who connected after `moment_s`."""
        return min((came_s for made_s, came_s in self.answered if made_s >= moment_s), default=None)


class Poller:
    """Polls from `start` to `finish`, on a thread of its own that never waits for a single connection."""

    def __init__(self, address: tuple[str, int], interval_s: float = 0.002) -> None:
        self._address = address
        self._request = REQUEST % f"{address[0]}:{address[1]}".encode()
        self._interval_s = interval_s
        self.polls = Polls()
        self._answered_after_s: float | None = None
        self._has_answer = threading.Event()
        self._is_finishing = False
        self._open: dict[socket.socket, float] = {}
        self._selector = selectors.DefaultSelector()
        self._thread = threading.Thread(target=self._run, name="poller", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def kill(self, pid: int) -> float:
        """Kill a process and return when."""
        moment_s = self._answered_after_s = time.monotonic()
        os.kill(pid, 9)
        return moment_s

    def wait_for_answer(self, timeout_s: float) -> bool:
        """Wait for a 200 to a connection that was made after the kill."""
        return self._has_answer.wait(timeout_s)

    def finish(self) -> Polls:
        self._is_finishing = True
        self._thread.join()
        return self.polls

    def _run(self) -> None:
        next_s = time.monotonic()
        while not self._is_finishing:
            now_s = time.monotonic()
            if now_s >= next_s:
                self._connect(now_s)
                next_s = max(next_s + self._interval_s, now_s)
            for key, _ in self._selector.select(max(0.0, next_s - time.monotonic())):
                self._read(key.fileobj)  # type: ignore[arg-type]
        for left in list(self._open):
            self._drop(left)
        self._selector.close()

    def _connect(self, now_s: float) -> None:
        connection = socket.socket()
        try:
            connection.connect(self._address)  # on loopback a connection is made, or refused, at once
            connection.sendall(self._request)
        except ConnectionRefusedError:
            self.polls.refused.append(now_s)
            connection.close()
        except OSError:
            self.polls.broken.append(now_s)
            connection.close()
        else:
            self._open[connection] = now_s
            self._selector.register(connection, selectors.EVENT_READ)

    def _read(self, connection: socket.socket) -> None:
        try:
            answer = connection.recv(4096)
        except OSError:
            answer = b""
        made_s = self._open[connection]
        if answer.startswith(OK):
            self.polls.answered.append((made_s, time.monotonic()))
            if self._answered_after_s is not None and made_s >= self._answered_after_s:
                self._has_answer.set()
        else:
            self.polls.broken.append(made_s)
        self._drop(connection)

    def _drop(self, connection: socket.socket) -> None:
        self._selector.unregister(connection)
        del self._open[connection]
        connection.close()
