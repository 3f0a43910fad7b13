"""A way between a client and a server that can break, stall, and let through one byte at a time."""

import contextlib
import os
import socket
import threading

from tests.unit.ipc.channel import Arrivals

UP = "client to server"
DOWN = "server to client"


class CuttingProxy:
    """Listens at `path` and forwards to `upstream`.

    `cut_after[direction]` is how many bytes more may pass that way before the connection is cut, once; None: no limit.
    `cut_each_after` is what it is set to for each connection that comes.
    `piece_bytes` is the most that is forwarded at once. `connected` counts connections as they come.
    """

    def __init__(self, path: str, upstream: str) -> None:
        self.path = path
        self.piece_bytes = 1 << 16
        self.cut_after: dict[str, int | None] = {UP: None, DOWN: None}
        self.cut_each_after: dict[str, int] = {}
        self.passed = {UP: 0, DOWN: 0}
        self.connected = Arrivals()
        self._upstream = upstream
        self._flowing = threading.Event()
        self._flowing.set()
        self._lock = threading.Lock()
        self._pairs: set[_Pair] = set()
        self._threads: list[threading.Thread] = []
        self._is_closed = False
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(path)
        self._listening.listen(64)
        self._start(self._accept_all)

    def cut(self) -> None:
        """Break every connection; what is on its way is lost."""
        with self._lock:
            pairs, self._pairs = self._pairs, set()
        for pair in pairs:
            pair.cut()

    def stall(self) -> None:
        """Forward nothing more until `resume`."""
        self._flowing.clear()

    def resume(self) -> None:
        self._flowing.set()

    def close(self) -> None:
        self._is_closed = True
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()
        self._listening.close()
        os.unlink(self.path)
        self.cut()
        self.resume()
        for thread in self._threads:
            thread.join()

    def _start(self, target, *arguments) -> None:
        thread = threading.Thread(target=target, args=arguments, name="proxy", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept_all(self) -> None:
        while not self._is_closed:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            self._threads = [self._threads[0], *(thread for thread in self._threads[1:] if thread.is_alive())]
            self._connect(client)

    def _connect(self, client: socket.socket) -> None:
        server = socket.socket(socket.AF_UNIX)
        try:
            server.connect(self._upstream)
        except OSError:
            server.close()
            client.close()
            return
        pair = _Pair(client, server)
        with self._lock:
            self._pairs.add(pair)
            self.cut_after |= self.cut_each_after
        self.connected(pair)
        self._start(self._pump, pair, client, server, UP)
        self._start(self._pump, pair, server, client, DOWN)

    def _pump(self, pair: "_Pair", source: socket.socket, sink: socket.socket, direction: str) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(self.piece_bytes):
                self._flowing.wait()
                passing = self._take_from_budget(direction, piece)
                sink.sendall(passing)
                if len(passing) < len(piece):
                    break
        pair.end_one_way()

    def _take_from_budget(self, direction: str, piece: bytes) -> bytes:
        """Return what of `piece` may pass."""
        with self._lock:
            budget = self.cut_after[direction]
            passing = piece if budget is None else piece[:budget]
            if budget is not None:
                self.cut_after[direction] = None if len(passing) < len(piece) else budget - len(passing)
            self.passed[direction] += len(passing)
        return passing


class _Pair:
    """The two sockets of one connection. The pump that ends last closes them."""

    def __init__(self, *sockets: socket.socket) -> None:
        self._sockets = sockets
        self._lock = threading.Lock()
        self._ways = 2

    def cut(self) -> None:
        with self._lock:
            if self._ways:
                for sock in self._sockets:
                    with contextlib.suppress(OSError):
                        sock.shutdown(socket.SHUT_RDWR)

    def end_one_way(self) -> None:
        self.cut()
        with self._lock:
            self._ways -= 1
            if not self._ways:
                for sock in self._sockets:
                    sock.close()
