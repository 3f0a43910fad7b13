"""This project's channel through its public API, with its default settings."""

import threading
import time
from typing import Any

from ipc import Limits, SocketClient, SocketServer
from tests.bench.payload import PAYLOAD

DONE_WITHIN_S = 25.0


class Server:
    """Answers requests, and messages by a broadcast, as soon as it is there. `limits` are for what needs a long log."""

    def __init__(self, address: str, limits: Limits | None = None) -> None:
        self._server = SocketServer(address, limits=limits)
        self._server.on_request("attendance")(lambda payload: payload)
        self._server.add_message_handler(self._server.broadcast)
        self._server.start()

    def echo(self, count: int) -> None:
        pass

    def send(self, count: int) -> float:
        broadcast = self._server.broadcast
        began = time.monotonic()
        for _ in range(count):
            broadcast(PAYLOAD)
        return began

    def costs(self, buckets: int, bucket: int) -> list[float]:
        """Broadcast `buckets` times `bucket` messages; return the CPU seconds of this thread for a message of each."""
        broadcast, clock = self._server.broadcast, time.thread_time
        costs_s = []
        for _ in range(buckets):
            began = clock()
            for _ in range(bucket):
                broadcast(PAYLOAD)
            costs_s.append((clock() - began) / bucket)
        return costs_s

    def send_paced(self, count: int, per_s: float) -> list[float]:
        """Broadcast at an even pace, with the monotonic time in each message; return how long each call took."""
        clock, broadcast = time.monotonic, self._server.broadcast
        took_s = []
        due = clock()
        for _ in range(count):
            due += 1 / per_s
            time.sleep(max(0.0, due - clock()))
            began = clock()
            broadcast(PAYLOAD | {"sentAt": began})
            took_s.append(clock() - began)
        return took_s


class Client:
    """Round trips are requests: from the thread that calls `request` back to it."""

    def __init__(self, address: str) -> None:
        self._count = 0
        self._target = 0
        self._is_done = threading.Event()
        self._done_at = 0.0
        self._client = SocketClient(address)
        self._client.add_message_handler(self._handle)
        self._client.start()
        self._client.request(PAYLOAD)  # connected now

    def round_trips(self, count: int) -> list[float]:
        clock, request = time.perf_counter, self._client.request
        took_s = []
        for _ in range(count):
            began = clock()
            request(PAYLOAD)
            took_s.append(clock() - began)
        return took_s

    def receive(self, count: int) -> float:
        """Wait for `count` more messages; some may have come ahead of the call."""
        self._target += count
        while self._count < self._target:
            if not self._is_done.wait(DONE_WITHIN_S):
                raise TimeoutError(f"{self._target - self._count} messages have not come: {self._client.stats}")
            self._is_done.clear()
        return self._done_at

    def _handle(self, _payload: dict[str, Any]) -> None:
        self._count += 1
        if self._count >= self._target:
            self._done_at = time.monotonic()
            self._is_done.set()


class MessageClient(Client):
    """Round trips are messages: from its handler to the server's handler and back."""

    def round_trips(self, count: int) -> list[float]:
        self._took_s: list[float] = []
        self._trips = count
        self._began = time.perf_counter()
        self._client.send_message(PAYLOAD)
        self.receive(count)
        return self._took_s

    def _handle(self, payload: dict[str, Any]) -> None:
        now = time.perf_counter()
        self._took_s.append(now - self._began)
        if len(self._took_s) < self._trips:
            self._began = now
            self._client.send_message(PAYLOAD)
        super()._handle(payload)


class TimingClient(Client):
    """Notes how old each message is when its handler gets it."""

    def __init__(self, address: str) -> None:
        self._ages_s: list[float] = []
        super().__init__(address)

    def ages(self, count: int) -> list[float]:
        """Wait until `count` messages have come since the last call; return their ages in seconds."""
        self.receive(count)
        ages_s, self._ages_s = self._ages_s, []
        return ages_s

    def _handle(self, payload: dict[str, Any]) -> None:
        self._ages_s.append(time.monotonic() - payload["sentAt"])
        super()._handle(payload)


class ReturningClient(Client):
    """Goes away, and catches up when it is back."""

    def leave(self) -> None:
        self._client.stop()

    def catch_up(self, count: int) -> float:
        """Come back to `count` messages that were missed; return the seconds from the start to the last of them."""
        began = time.monotonic()
        self._client.start()
        return self.receive(count) - began
