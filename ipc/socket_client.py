"""The client's end of the channel: connects, resumes, and never gives up.

Threads: "ipc-client-NAME" connects and reads, and calls the handlers in order (ipc.client_session is one connection);
perhaps a writer (see ipc.connection). `send_message` sends in the caller's thread.
"""

import atexit
import os
import random
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from ipc import fork
from ipc.authkey import check_key, resolve_key
from ipc.client_hub import ClientHub, DeliveryHandler, GapHandler, PayloadHandler, StateHandler
from ipc.client_session import greet
from ipc.client_state import ClientState, Kind
from ipc.connection import hang_up
from ipc.endpoint import DEFAULT_SOCKET_PATH, MAX_PATH_BYTES, check_path
from ipc.errors import AddressError, AuthkeyError, IpcError, ProtocolError, RequestError
from ipc.limits import Limits
from ipc.logs import get_logger
from ipc.patience import Patience
from ipc.pending import OnReply, Waiter
from ipc.protocol import (
    MIN_FRAME_BYTES,
    Bye,
    Gap,
    Message,
    Payload,
    SeqAck,
    as_payload,
    check_size,
    encode,
    encode_payload,
)

_FIRST_PAUSE_S = 0.05
_STOP_S = 0.9
_DRAIN_S = 0.4
_TRAFFIC_S = 0.3
_JOIN_S = 0.5
_LASTING_S = 1.0
_STOPPED = ClientState(kind="stopped")


class SocketClient:
    """Receives what the server broadcasts, in order, once, over any number of connections; sends back with acks.

    `name` is shown in the server's logs; what passes is logged at `traffic_level`. Handlers are called on the client's
    thread: one that does not return holds up those that follow it.
    """

    def __init__(
        self,
        address: str = DEFAULT_SOCKET_PATH,
        *,
        authkey: bytes | None = None,
        name: str = "client",
        limits: Limits | None = None,
        log_payloads: bool = False,
        traffic_level: str = "info",
    ) -> None:
        self.address = _absolute(check_path(address))
        self.name = name
        self._authkey = None if authkey is None else check_key(authkey)
        self._limits = limits or Limits()
        if self._limits.max_frame_bytes < MIN_FRAME_BYTES:
            too_small = self._limits.max_frame_bytes
            raise IpcError(f"max_frame_bytes: {too_small} is too small for a client; use at least {MIN_FRAME_BYTES}")
        self._log_payloads = log_payloads
        self._traffic_level = traffic_level
        self._hub = ClientHub(name, self._limits)
        self._lifecycle_lock = threading.RLock()  # a signal handler may stop what is just being stopped
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._predecessor: threading.Thread | None = None
        self._begin: Callable[[], None] = lambda: None
        self._generation = fork.generation
        self._own_threads: set[int] = set()  # more than one while a handler that has stopped and started goes on
        self._socket: socket.socket | None = None

    # -- from any thread -------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to connect, and go on until `stop`; a second call does nothing."""
        self._check_process()
        with self._lifecycle_lock:
            if self._thread is not None:
                return
            logger = get_logger().bind(channel=self.name)
            self._hub.open(logger, log_payloads=self._log_payloads, traffic_level=self._traffic_level)
            self._stopping = threading.Event()  # a new one: a thread that a handler holds up still has to see its own
            arguments = (self._stopping, self._predecessor)
            thread = threading.Thread(target=self._run, args=arguments, name=f"ipc-client-{self.name}", daemon=True)
            thread.start()
            self._thread = self._predecessor = thread

    def stop(self) -> None:
        """Wait a moment for acks, say bye, and give everything back, within a second; a second call does nothing.

        Nor does one in a process that was forked from the client's.
        """
        if self._generation != fork.generation:
            return
        with self._lifecycle_lock:
            thread, self._thread = self._thread, None
            if thread is None:
                return
            hub, traffic = self._hub, self._hub.traffic
            patience = Patience(_STOP_S)
            is_outside = thread is not threading.current_thread()
            if is_outside:
                hub.all_acknowledged.wait(patience.at_most(_DRAIN_S))
            self._stopping.set()
            hub.flusher.stop(patience.at_most(_DRAIN_S))
            connection, sock = hub.connection, self._socket
            if connection is not None:
                connection.shut_down_after(encode(Bye("the client stops")))
            elif sock is not None:
                hang_up(sock)
            if is_outside:
                thread.join(patience.at_most(_JOIN_S))
            hub.state = _STOPPED  # also where a handler holds the thread up, which will tell of it when it can
            traffic.stop(patience.at_most(_TRAFFIC_S))
            last_id = hub.outbox.newest
        # The application's own code, without the lock: it may stop and start, and ask anew.
        hub.pending.fail_through(last_id, RequestError("stopped", "the client was stopped"))

    def send_message(self, payload: Payload | str) -> bool:
        """Send `payload` to the server's message handlers, now or when it is back; True if it was accepted for that.

        False if the client was stopped, or so much waits to be acknowledged that the outbox is full. Text is sent as
        `{"type": "message", "message": text}`. Never waits. Raises PayloadError; IpcError in a process that was forked
        from the client's. Not for signal handlers: one that interrupts a call of its own thread would wait for ever.
        """
        return self._post(b"message", payload) is not None

    def wait_until_acknowledged(self, timeout_s: float) -> bool:
        """Wait until the server has handled all that was sent, over any number of connections; False if it has not."""
        return self._hub.all_acknowledged.wait(timeout_s)

    def request(self, payload: Payload, timeout_s: float = 5.0) -> Payload:
        """Send `payload` to the server's handler for its "type" and wait for the reply.

        Raises RequestError: "timeout" after `timeout_s`, "disconnected" when the connection broke after the server had
        taken the request, "outbox_full", "stopped", or what the server answered; PayloadError.
        """
        if threading.get_ident() in self._own_threads:
            raise IpcError("request() in a handler would wait for its own thread: use begin_request()")
        waiter = Waiter()
        number = self.begin_request(payload, waiter)
        try:
            if self._hub.lease.is_out:
                self._hub.lease.read_reply(number)
            outcome = waiter.wait(timeout_s)
        except BaseException:  # of a signal handler
            self.cancel_request(number)
            raise
        if outcome is None:
            self.cancel_request(number)
            raise RequestError("timeout", f"no reply within {timeout_s} s")
        if isinstance(outcome, RequestError):
            raise outcome
        return outcome

    def begin_request(self, payload: Payload, on_reply: OnReply) -> int:
        """Send a request and return its id; `on_reply(payload or RequestError)` is called on the client's thread.

        Without a deadline: `cancel_request` ends it. Raises RequestError ("outbox_full", "stopped"), PayloadError.
        """
        number = self._post(b"request", payload, on_reply)
        if number is None:
            if self._stopping.is_set():
                raise RequestError("stopped", "the client was stopped; start() it first")
            waiting = len(self._hub.outbox)
            raise RequestError("outbox_full", f"{waiting} messages wait for the server; ask again when it has had some")
        return number

    def cancel_request(self, number: int) -> bool:
        """Stop waiting for a reply; False if it has come, and `on_reply` has been or is being called."""
        return self._hub.pending.discard(number)

    def acknowledge(self, seq: int, epoch: str | None) -> None:
        """Tell the server that everything up to `seq` was handled. The client does it by itself after its handlers.

        Nothing is said to a server that numbers otherwise than `epoch`.
        """
        connection = self._hub.connection  # first: a connection is there only after its epoch is
        if connection is not None and epoch == self.epoch and self._generation == fork.generation:
            connection.send_control(encode(SeqAck(seq)))

    def deliver_to(self, deliver: Callable[[list[Message]], bool], begin: Callable[[], None]) -> None:
        """Have `deliver(messages)` called in place of the handlers, on the client's thread.

        It returns whether they were handled; if not, whoever has them calls `acknowledge` later, or `want_again` in
        `begin()`, which is called after each start, as soon as nothing more is delivered from before.
        """
        self._hub.deliver = deliver
        self._begin = begin

    def want_again(self, undelivered: list[Message | Gap | ClientState]) -> None:
        """Have all this told once more, and what comes after it; see `deliver_to`."""
        self._hub.follower.rewind(undelivered)

    def add_message_handler(self, handler: PayloadHandler) -> PayloadHandler:
        """Have `handler(payload)` called with each message."""
        return self._hub.message_handlers.add(handler)

    def add_delivery_handler(self, handler: DeliveryHandler) -> DeliveryHandler:
        """Have `handler(message)` called with each message and its `seq` and `ts` (unix seconds)."""
        return self._hub.delivery_handlers.add(handler)

    def add_gap_handler(self, handler: GapHandler) -> GapHandler:
        """Have `handler(first, last)` called when those seqs can no longer come: reload what you show."""
        return self._hub.gap_handlers.add(handler)

    def add_state_handler(self, handler: StateHandler) -> StateHandler:
        """Have `handler(state)` called at each change of state."""
        return self._hub.state_handlers.add(handler)

    @property
    def state(self) -> ClientState:
        return self._hub.state

    @property
    def epoch(self) -> str | None:
        """Which numbering the seqs of what comes now belong to; None before the first connection."""
        return self._hub.follower.epoch

    @property
    def received_bytes(self) -> int:
        """How many bytes have come after `hello`, on all connections."""
        return self._hub.totals().received_bytes

    @property
    def stats(self) -> dict[str, Any]:
        """Return where this client is in the log, what waits, and what has passed."""
        hub = self._hub
        return {
            "state": hub.state.kind,
            "epoch": hub.follower.epoch,
            "last_seq": hub.follower.last_seq,
            "duplicates": hub.duplicates,
            "unacknowledged": len(hub.outbox),
            "lag": hub.lag(),
            "unknown_ops": hub.decoder.unknown_ops,
            "unknown_fields": hub.decoder.unknown_fields,
            **hub.totals()._asdict(),
        }

    def _check_process(self) -> None:
        """Raise IpcError in a process that was forked while the client ran; what was not running is anybody's."""
        if self._generation != fork.generation:
            if self._thread is not None:
                raise IpcError(
                    "this client belongs to the process that this one was forked from: make one of its own, or start"
                    ' this process with multiprocessing.get_context("spawn")'
                )
            self._generation = fork.generation

    def _post(self, op: bytes, payload: Payload | str, on_reply: OnReply | None = None) -> int | None:
        if self._generation != fork.generation:
            self._check_process()
        encoded = check_size(encode_payload(as_payload(payload)), self._hub.max_frame_bytes)
        return None if self._stopping.is_set() else self._hub.post(op, encoded, on_reply)

    # -- on the client's thread ------------------------------------------------------------------------------------

    def _run(self, stopping: threading.Event, predecessor: threading.Thread | None) -> None:
        """Body of the thread."""
        self._own_threads.add(threading.get_ident())
        try:
            self._go_on(stopping, predecessor)
        finally:
            self._own_threads.discard(threading.get_ident())

    def _go_on(self, stopping: threading.Event, predecessor: threading.Thread | None) -> None:
        """Live through one connection after the other."""
        if predecessor is not None:
            predecessor.join()  # a handler may still hold it up: what comes now must not overtake what it has
        if not stopping.is_set():
            self._begin()
        failures = 0
        while not stopping.is_set():
            self._hub.set_state(ClientState(kind="connecting", attempt=failures))
            self._live_since = float("inf")  # not yet
            before = self._hub.progress()
            kind, reason = self._connect_and_follow(stopping)
            if time.monotonic() - self._live_since > _LASTING_S:
                failures = 0
            else:
                failures = 1 if self._hub.progress() != before else failures + 1
            if failures and not stopping.is_set():
                longest_s = min(self._limits.retry_max_s, _FIRST_PAUSE_S * 2.0 ** min(failures, 20))
                retry_in_s = random.uniform(0.0, longest_s)  # noqa: S311 - full jitter, no secret
                self._hub.set_state(ClientState(kind=kind, attempt=failures, retry_in_s=retry_in_s, reason=reason))
                stopping.wait(retry_in_s)
        if stopping is self._stopping:
            self._hub.set_state(_STOPPED)

    def _connect_and_follow(self, stopping: threading.Event) -> tuple[Kind, str]:
        """Live through one connection, or the attempt at one; return the state it leaves us in, and why."""
        try:
            return "waiting", self._live_once(stopping)
        except ProtocolError as error:
            return _kind_of_failure(error), error.reason
        except AuthkeyError as error:
            return "unauthorized" if os.path.lexists(self.address) else "waiting", str(error)
        except OSError as error:
            return "waiting", f"{self.address}: {error.strerror or error}"
        except BaseException as error:  # this thread is ours, whatever the application's code has raised in it
            self._hub.logger.critical("client_failed", exc_info=True)
            return "waiting", f"{type(error).__name__}: {error}"

    def _live_once(self, stopping: threading.Event) -> str:
        """Connect, and follow the server until the end of the connection; return why it ended."""
        authkey = resolve_key(self.address, self._authkey, create=False)
        with socket.socket(socket.AF_UNIX) as sock:
            self._socket = sock
            try:
                sock.settimeout(self._limits.connect_s)
                sock.connect(self.address)
                if stopping.is_set():
                    return "stopped"
                session = greet(self._hub, sock, authkey)
                self._live_since = time.monotonic()
                return session.follow()
            finally:
                if self._socket is sock:
                    self._socket = None


def _absolute(path: str) -> str:
    """Return `path` so that it is the same one after the program has changed its directory, if that is possible."""
    absolute = os.path.abspath(path)
    return absolute if len(os.fsencode(absolute)) <= MAX_PATH_BYTES else path


def _kind_of_failure(error: ProtocolError) -> Kind:
    match error.kind:
        case "unauthorized":
            return "unauthorized"
        case "incompatible":
            return "incompatible"
        case _:
            return "waiting"


# The one client of a plain script -------------------------------------------------------------------------------------

_default: SocketClient | None = None
_default_lock = threading.RLock()
_default_handlers: list[PayloadHandler] = []


def _forget_default() -> None:
    """In a forked process: the client is its original's, and one of its own may be started."""
    global _default, _default_lock
    _default, _default_lock = None, threading.RLock()


os.register_at_fork(after_in_child=_forget_default)


def start_socket_client(address: str | None = None) -> SocketClient:
    """Start this process's client, unless it runs already, and return it. It connects when there is a server.

    Without an `address` it connects to DEFAULT_SOCKET_PATH, or where it does already. Raises AddressError.
    """
    global _default
    with _default_lock:
        if _default is None:
            client = SocketClient(DEFAULT_SOCKET_PATH if address is None else address)
            for handler in _default_handlers:
                client.add_message_handler(handler)
            client.start()
            _default = client
            atexit.register(stop_socket_client)
        elif address is not None and _absolute(address) != _default.address:
            raise AddressError(f"this process's client is of {_default.address}: call stop_socket_client() first")
        else:
            _default.start()
        return _default


def stop_socket_client() -> None:
    """Stop this process's client, if it runs."""
    global _default
    with _default_lock:
        client, _default = _default, None
    if client is not None:
        client.stop()
        atexit.unregister(stop_socket_client)


def send_message(message: Payload | str) -> bool:
    """Send `message` to the server; True if it was accepted for delivery.

    Raises IpcError if `start_socket_client()` has not been called, PayloadError if the message is not JSON.
    """
    if _default is None:
        raise IpcError("there is no client to send with: call start_socket_client() first")
    return _default.send_message(message)


def add_client_message_handler(handler: PayloadHandler) -> PayloadHandler:
    """Have `handler(payload)` called with each message of the server; before or after `start_socket_client()`."""
    _default_handlers.append(handler)
    if _default is not None:
        _default.add_message_handler(handler)
    return handler
