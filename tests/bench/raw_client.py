"""Clients that cost as little as can be: they speak the protocol with the standard library and only count what comes.

So a measure of the server measures the server. They know what `docs/protocol.md` says, and, to count without decoding,
the order in which this server writes the fields of a message.
"""

import json
import os
import select
import time
from multiprocessing.connection import Client as Connecting
from multiprocessing.connection import Connection

_TOKEN = b'{"op":"message","seq":'
_READ_BYTES = 1 << 18


class _Counter:
    """Counts the messages on one connection, wherever the reads cut them."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection  # kept open
        self.descriptor = connection.fileno()
        self.count = 0
        self._tail = b""

    def read(self) -> None:
        data = os.read(self.descriptor, _READ_BYTES)
        if not data:
            raise EOFError("the server has hung up")
        self.count += data.count(_TOKEN)
        self.count += (self._tail + data[: len(_TOKEN) - 1]).count(_TOKEN)
        self._tail = data[-len(_TOKEN) + 1 :] if len(data) >= len(_TOKEN) else (self._tail + data)[-len(_TOKEN) + 1 :]


class Crowd:
    """Many clients of one server, in one process."""

    def __init__(self, address: str, key: bytes, size: int) -> None:
        self._counters = {}
        for number in range(size):
            connection = Connecting(address, "AF_UNIX", authkey=key)
            hello = {"op": "hello", "protocol": 1, "client": f"{os.getpid()}-{number}", "name": "raw", "resume": None}
            connection.send_bytes(json.dumps(hello).encode())
            assert b'"op":"welcome"' in connection.recv_bytes()
            counter = _Counter(connection)
            self._counters[counter.descriptor] = counter
        self._target = 0

    def receive(self, count: int) -> float:
        """Take `count` messages on each connection; return the monotonic time of the last."""
        self._target += count
        poll = select.epoll()
        waiting = set()
        for descriptor, counter in self._counters.items():
            if counter.count < self._target:
                waiting.add(descriptor)
                poll.register(descriptor, select.EPOLLIN)
        while waiting:
            for descriptor, _ in poll.poll():
                counter = self._counters[descriptor]
                counter.read()
                if counter.count >= self._target:
                    poll.unregister(descriptor)
                    waiting.discard(descriptor)
        ended = time.monotonic()
        poll.close()
        if any(counter.count != self._target for counter in self._counters.values()):
            raise AssertionError("more messages came than were sent")
        return ended
