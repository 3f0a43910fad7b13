"""QLocalSocket the way Qt programs use it: an event loop, `readyRead`, one JSON object a line."""

import time
from collections.abc import Callable

import msgspec
from PySide6.QtCore import QCoreApplication, QEventLoop
from PySide6.QtNetwork import QLocalServer, QLocalSocket

from tests.bench.payload import PAYLOAD

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class Server:
    def __init__(self, address: str) -> None:
        self._application = QCoreApplication.instance() or QCoreApplication([])
        self._server = QLocalServer()
        if not self._server.listen(address):
            raise OSError(self._server.errorString())

    def echo(self, count: int) -> None:
        sock = self._socket()
        _on_lines(sock, count, lambda line: sock.write(_encode(_decode(line)) + b"\n"))
        while sock.bytesToWrite() and sock.waitForBytesWritten(1000):
            pass

    def send(self, count: int) -> float:
        sock = self._socket()
        began = time.monotonic()
        for _ in range(count):
            sock.write(_encode(PAYLOAD) + b"\n")
            if sock.bytesToWrite() > 1 << 20:
                sock.waitForBytesWritten(1000)
        while sock.bytesToWrite() and sock.waitForBytesWritten(1000):
            pass
        return began

    def _socket(self) -> QLocalSocket:
        if not hasattr(self, "_accepted"):
            if not self._server.hasPendingConnections():
                self._server.waitForNewConnection(1000)
            self._accepted = self._server.nextPendingConnection()
        return self._accepted


class Client:
    def __init__(self, address: str) -> None:
        self._application = QCoreApplication.instance() or QCoreApplication([])
        self._socket = QLocalSocket()
        self._socket.connectToServer(address)
        if not self._socket.waitForConnected(5000):
            raise OSError(self._socket.errorString())

    def round_trips(self, count: int) -> list[float]:
        clock, sock = time.perf_counter, self._socket
        took_s: list[float] = []
        began = 0.0

        def begin() -> None:
            nonlocal began
            began = clock()
            sock.write(_encode(PAYLOAD) + b"\n")

        def on_line(line: bytes) -> None:
            _decode(line)
            took_s.append(clock() - began)
            if len(took_s) < count:
                begin()

        begin()
        _on_lines(sock, count, on_line)
        return took_s

    def receive(self, count: int) -> float:
        _on_lines(self._socket, count, _decode)
        return time.monotonic()


def _on_lines(sock: QLocalSocket, count: int, handle: Callable[[bytes], object]) -> None:
    """Run the event loop until `handle` has had `count` lines."""
    loop = QEventLoop()
    left = count

    def on_ready() -> None:
        nonlocal left
        while left and sock.canReadLine():
            left -= 1
            handle(sock.readLine().data())
        if not left:
            loop.quit()

    sock.readyRead.connect(on_ready)
    on_ready()
    if left:
        loop.exec()
    sock.readyRead.disconnect(on_ready)
