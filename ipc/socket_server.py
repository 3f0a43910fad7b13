"""The server's end of the channel: every client follows one message log, each at its own pace.

Threads: "ipc-accept" accepts; each connection has one that reads ("ipc-peer-N"), on which its messages are handled in
order, and perhaps a writer (see ipc.connection). `broadcast` appends and sends in the caller's thread, or leaves the
end of a burst to "ipc-flusher-server".
"""

import atexit
import socket
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Listener
from typing import Any, TypeVar

from ipc import fork
from ipc.acceptor import Acceptor
from ipc.authkey import resolve_key
from ipc.connection import LAST_WORDS_S
from ipc.endpoint import DEFAULT_SOCKET_PATH, Endpoint, check_path, listening_socket
from ipc.errors import AddressError, IpcError
from ipc.hub import AckHandler, Hub, MessageHandler, RequestHandler
from ipc.limits import Limits
from ipc.logs import get_logger
from ipc.message_log import MemoryLog, MessageLog
from ipc.patience import Patience
from ipc.peer import Peer, PeerInfo
from ipc.protocol import Payload, as_payload, check_size, encode_message, encode_payload
from ipc.traffic import TrafficLog

_STOP_S = 0.9
_ACCEPT_S = 0.2
_DRAIN_S = 0.4
_JOIN_S = 0.5
_TRAFFIC_S = 0.3

H = TypeVar("H", bound=RequestHandler)


class SocketServer:
    """Broadcasts messages to every connected client, and handles what they send.

    With a `listener` that somebody else has bound (a launcher), that one is used and its file left alone; otherwise the
    server locks, binds and finally removes `address`. `log` keeps what was broadcast for clients that lag or come back;
    by default it is in memory. Sizes and times are in `limits`. What passes is logged at `traffic_level`. `authkey` is
    looked up as ipc.authkey says.
    """

    def __init__(
        self,
        address: str = DEFAULT_SOCKET_PATH,
        *,
        listener: Listener | None = None,
        authkey: bytes | None = None,
        log: MessageLog | None = None,
        limits: Limits | None = None,
        name: str = "server",
        log_payloads: bool = False,
        traffic_level: str = "info",
    ) -> None:
        self.address = check_path(address)
        self._listener = listener
        self._authkey = authkey
        self._limits = limits or Limits()
        self._name = name
        self._log_payloads = log_payloads
        self._traffic_level = traffic_level
        self._log: MessageLog = log if log is not None else MemoryLog(self._limits)
        self._hub = Hub(self._log, self._limits)
        self._append_lock = threading.Lock()
        self._lifecycle_lock = threading.RLock()  # a signal handler may stop what is just being stopped
        self._endpoint: Endpoint | None = None
        self._acceptor: Acceptor | None = None
        self._generation = fork.generation

    def start(self) -> None:
        """Begin to serve; a second call does nothing. Raises AddressError, AuthkeyError."""
        self._check_process()
        with self._lifecycle_lock:
            if self._acceptor is not None:
                return
            logger = get_logger().bind(channel=self._name)
            listener, authkey = self._open()
            hub = self._hub
            traffic = TrafficLog(
                logger,
                self._name,
                hub.traffic_totals,
                lag=hub.lag,
                log_payloads=self._log_payloads,
                level=self._traffic_level,
            )
            hub.open(authkey, logger, traffic)
            try:
                self._acceptor = Acceptor(
                    listening_socket(listener), self._serve, logger, self._limits.max_unauthenticated
                )
            except BaseException:
                self._close_endpoint()
                raise
            hub.flusher.start()  # now: a server that grows a thread at some later message looks like one that leaks

    def stop(self) -> None:
        """Send what is left, say bye, and give everything back, within a second; a second call does nothing.

        Nor does one in a process that was forked from the server's.
        """
        if self._generation != fork.generation:
            return
        with self._lifecycle_lock:
            acceptor, self._acceptor = self._acceptor, None
            if acceptor is None:
                return
            patience = Patience(_STOP_S)
            acceptor.stop_accepting(patience.at_most(_ACCEPT_S))
            draining = Patience(patience.at_most(_DRAIN_S))
            self._hub.flusher.stop(draining.at_most(_DRAIN_S))
            peers = self._hub.close()
            for peer in peers:
                peer.wait_until_sent(draining.at_most(_DRAIN_S))
            ending = Patience(patience.at_most(LAST_WORDS_S))
            for peer in peers:
                peer.end("the server stops", ending.at_most(LAST_WORDS_S))
            joining = Patience(patience.at_most(_JOIN_S))
            for thread in acceptor.threads():
                if thread is not threading.current_thread():
                    thread.join(joining.at_most(_JOIN_S))
            self._hub.traffic.stop(patience.at_most(_TRAFFIC_S))
            self._close_endpoint()

    def broadcast(self, payload: Payload | str) -> int:
        """Send `payload` to every client, now or when it is back; return how many are connected.

        Text is sent as `{"type": "message", "message": text}`. Never waits for a client. Raises PayloadError; IpcError
        in a process that was forked from the server's. Not for signal handlers: one that interrupts a broadcast of its
        own thread would wait for it for ever.
        """
        if self._generation != fork.generation:
            self._check_process()
        if isinstance(payload, str):
            payload = as_payload(payload)
        with self._append_lock:
            self._log.append(payload)
        peers = self._hub.peers
        if peers:
            self._hub.flusher.news()
        return len(peers)

    def flush(self) -> int:
        """Send what the log holds past each client's cursor; return how many clients are connected.

        For messages that came into the log by another way than `broadcast`.
        """
        if self._generation != fork.generation:
            self._check_process()
        peers = self._hub.peers
        if peers:
            self._hub.flusher.news()
        return len(peers)

    def send(self, peer: str | PeerInfo, payload: Payload | str) -> bool:
        """Send `payload` to one client only, outside the log, as seq 0: it is not replayed.

        `peer` is one of `peers`, or its id. False if there is no such client or too much waits for it already. Raises
        PayloadError, IpcError.
        """
        self._check_process()
        encoded = check_size(encode_payload(as_payload(payload)), self._limits.max_frame_bytes)
        message = encode_message(0, time.time(), encoded)
        peer_id = peer.id if isinstance(peer, PeerInfo) else peer
        for each in self._hub.peers:
            if each.id == peer_id:
                return each.send_message(message)
        return False

    def add_message_handler(self, handler: MessageHandler) -> MessageHandler:
        """Have `handler(payload)` called with each message of a client, on that client's thread."""
        return self._hub.message_handlers.add(handler)

    def add_ack_handler(self, handler: AckHandler) -> AckHandler:
        """Have `handler(previous_seq, seq)` called when a client has handled the messages between, on its thread."""
        return self._hub.ack_handlers.add(handler)

    def on_request(self, kind: str) -> Callable[[H], H]:
        """Return a decorator: `handler(payload) -> reply` answers the requests whose "type" is `kind`.

        What the handler raises reaches the client as an error: code and message of a RequestError, else
        "handler_failed".
        """

        def register(handler: H) -> H:
            self._hub.request_handlers[kind] = handler
            return handler

        return register

    @property
    def asking_peer(self) -> str:
        """The id of the client whose message or request this thread is handling, for `send`; empty elsewhere."""
        thread = threading.get_ident()
        return next((peer.id for peer in self._hub.peers if peer.thread == thread), "")

    @property
    def peers(self) -> list[PeerInfo]:
        """Return who is connected, and how far each has come."""
        return [peer.info() for peer in self._hub.peers]

    @property
    def stats(self) -> dict[str, Any]:
        """Return totals over all clients past and present, rejections by kind, and the state of the log."""
        is_started = hasattr(self._hub, "rejections")
        return {
            "peers": len(self._hub.peers),
            "rejected": self._hub.rejections.by_kind() if is_started else {},
            "epoch": self._log.epoch,
            "oldest": self._log.oldest,
            "newest": self._log.newest,
            **self._hub.totals(),
        }

    def _check_process(self) -> None:
        """Raise IpcError in a process that was forked while the server ran; what was not running is anybody's."""
        if self._generation != fork.generation:
            if self._acceptor is not None:
                raise IpcError(
                    "this server belongs to the process that this one was forked from: broadcast there, or connect to"
                    ' it with a SocketClient, or start this process with multiprocessing.get_context("spawn")'
                )
            self._generation = fork.generation

    def _open(self) -> tuple[Listener, bytes]:
        if self._listener is not None:
            return self._listener, resolve_key(self.address, self._authkey, create=True)
        self._endpoint = Endpoint(self.address, self._authkey)
        return self._endpoint.listener, self._endpoint.authkey

    def _close_endpoint(self) -> None:
        if self._endpoint is not None:
            self._endpoint.close()
            self._endpoint = None

    def _serve(self, sock: socket.socket, number: int, on_greeted: Callable[[], None]) -> None:
        Peer(self._hub, sock, number).run(on_greeted)


# The one server of a plain script -------------------------------------------------------------------------------------

_default: SocketServer | None = None
_default_lock = threading.RLock()
_default_handlers: list[MessageHandler] = []


def start_socket_server(address: str | None = None) -> SocketServer:
    """Start this process's server, unless it runs already, and return it. Raises AddressError, AuthkeyError.

    Without an `address` it is at DEFAULT_SOCKET_PATH, or where it runs already.
    """
    global _default
    with _default_lock:
        if _default is None:
            server = SocketServer(DEFAULT_SOCKET_PATH if address is None else address)
            for handler in _default_handlers:
                server.add_message_handler(handler)
            server.start()
            _default = server
            atexit.register(stop_socket_server)
        elif address not in (None, _default.address):
            raise AddressError(f"this process's server is at {_default.address}: call stop_socket_server() first")
        else:
            _default.start()  # or it says that it runs in another process
        return _default


def stop_socket_server() -> None:
    """Stop this process's server, if it runs."""
    global _default
    with _default_lock:
        server, _default = _default, None
    if server is not None:
        server.stop()
        atexit.unregister(stop_socket_server)


def broadcast_message(message: Payload | str) -> int:
    """Send `message` to every client of this process's server; return how many are connected.

    Raises IpcError if `start_socket_server()` has not been called, PayloadError if the message is not JSON.
    """
    if _default is None:
        raise IpcError("there is no server to broadcast with: call start_socket_server() first")
    return _default.broadcast(message)


def add_message_handler(handler: MessageHandler) -> MessageHandler:
    """Have `handler(payload)` called with each message of a client; before or after `start_socket_server()`."""
    _default_handlers.append(handler)
    if _default is not None:
        _default.add_message_handler(handler)
    return handler
