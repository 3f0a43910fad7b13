"""The floor: bytes to and fro on a blocking Unix socket. No frames, no JSON, no threads: nothing can be faster."""

import socket
import time

from tests.bench.payload import JSON


class Server:
    def __init__(self, address: str) -> None:
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(address)
        self._listening.listen()

    def echo(self, count: int) -> None:
        if not hasattr(self, "_socket"):
            self._socket, _ = self._listening.accept()
        for _ in range(count):
            self._socket.send(self._socket.recv(4096))


class Client:
    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(address)

    def round_trips(self, count: int) -> list[float]:
        clock, sock = time.perf_counter, self._socket
        took_s = []
        for _ in range(count):
            began = clock()
            sock.send(JSON)
            sock.recv(4096)
            took_s.append(clock() - began)
        return took_s
