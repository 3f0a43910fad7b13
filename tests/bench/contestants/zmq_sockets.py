"""pyzmq over ipc://: blocking PAIR to and fro, PUSH/PULL one way, with msgspec's JSON and with pyzmq's own.

PAIR is at least as fast as REQ/REP, and the default high-water marks are no slower than none.
"""

import time

import msgspec
import zmq

from tests.bench.payload import PAYLOAD

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class Server:
    def __init__(self, address: str) -> None:
        self._pair = zmq.Context.instance().socket(zmq.PAIR)
        self._pair.bind(f"ipc://{address}")
        self._push = zmq.Context.instance().socket(zmq.PUSH)
        self._push.bind(f"ipc://{address}.push")

    def echo(self, count: int) -> None:
        sock = self._pair
        for _ in range(count):
            sock.send(_encode(_decode(sock.recv())))

    def send(self, count: int) -> float:
        sock = self._push
        began = time.monotonic()
        for _ in range(count):
            sock.send(_encode(PAYLOAD))
        return began


class Client:
    def __init__(self, address: str) -> None:
        self._pair = zmq.Context.instance().socket(zmq.PAIR)
        self._pair.connect(f"ipc://{address}")
        self._pull = zmq.Context.instance().socket(zmq.PULL)
        self._pull.connect(f"ipc://{address}.push")

    def round_trips(self, count: int) -> list[float]:
        clock, sock = time.perf_counter, self._pair
        took_s = []
        for _ in range(count):
            began = clock()
            sock.send(_encode(PAYLOAD))
            _decode(sock.recv())
            took_s.append(clock() - began)
        return took_s

    def receive(self, count: int) -> float:
        sock = self._pull
        for _ in range(count):
            _decode(sock.recv())
        return time.monotonic()


class JsonServer(Server):
    """The same with `send_json` and `recv_json`."""

    def echo(self, count: int) -> None:
        sock = self._pair
        for _ in range(count):
            sock.send_json(sock.recv_json())

    def send(self, count: int) -> float:
        sock = self._push
        began = time.monotonic()
        for _ in range(count):
            sock.send_json(PAYLOAD)
        return began


class JsonClient(Client):
    def round_trips(self, count: int) -> list[float]:
        clock, sock = time.perf_counter, self._pair
        took_s = []
        for _ in range(count):
            began = clock()
            sock.send_json(PAYLOAD)
            sock.recv_json()
            took_s.append(clock() - began)
        return took_s

    def receive(self, count: int) -> float:
        sock = self._pull
        for _ in range(count):
            sock.recv_json()
        return time.monotonic()
