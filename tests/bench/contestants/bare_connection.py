"""`multiprocessing.connection` as it comes, with the standard library's json."""

import json
import time
from multiprocessing.connection import Client as Connecting
from multiprocessing.connection import Connection, Listener

from tests.bench.payload import PAYLOAD


class Server:
    def __init__(self, address: str) -> None:
        self._listener = Listener(address, "AF_UNIX")

    def echo(self, count: int) -> None:
        connection = self._connection()
        for _ in range(count):
            connection.send_bytes(json.dumps(json.loads(connection.recv_bytes())).encode())

    def send(self, count: int) -> float:
        connection = self._connection()
        began = time.monotonic()
        for _ in range(count):
            connection.send_bytes(json.dumps(PAYLOAD).encode())
        return began

    def _connection(self) -> Connection:
        if not hasattr(self, "_accepted"):
            self._accepted = self._listener.accept()
        return self._accepted


class Client:
    def __init__(self, address: str) -> None:
        self._connection = Connecting(address, "AF_UNIX")

    def round_trips(self, count: int) -> list[float]:
        clock, connection = time.perf_counter, self._connection
        took_s = []
        for _ in range(count):
            began = clock()
            connection.send_bytes(json.dumps(PAYLOAD).encode())
            json.loads(connection.recv_bytes())
            took_s.append(clock() - began)
        return took_s

    def receive(self, count: int) -> float:
        connection = self._connection
        for _ in range(count):
            json.loads(connection.recv_bytes())
        return time.monotonic()
