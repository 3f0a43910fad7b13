"""The client's end of the channel: connects, resumes, and never gives up.

Threads: "ipc-client-NAME" connects and reads, and calls the handlers in order; perhaps a writer (see ipc.connection).
`send_message` sends in the caller's thread.
"""

import atexit
import os
import random
import socket
import threading
import time
from collections.abc import Callable
from typing import Any, assert_never
from uuid import uuid4

from ipc.ack import AckPacer
from ipc.authkey import resolve_key
from ipc.client_state import ClientState, Kind
from ipc.connection import Connection, Counters, hang_up
from ipc.endpoint import DEFAULT_SOCKET_PATH, check_path
from ipc.errors import AuthkeyError, IpcError, ProtocolError, RequestError
from ipc.flusher import Flusher
from ipc.follower import Follower
from ipc.handlers import Handlers, report_failure
from ipc.handshake import DeadlineStream, authenticate_server
from ipc.lease import Lease
from ipc.limits import Limits
from ipc.logs import get_logger
from ipc.outbox import Outbox
from ipc.pending import OnReply, PendingRequests, Waiter
from ipc.protocol import (
    INCOMPATIBLE,
    MAX_REASON,
    PROTOCOL_VERSION,
    Bye,
    FromServer,
    Gap,
    Hello,
    IdAck,
    Message,
    ObjectDecoder,
    Payload,
    Ping,
    Pong,
    Reply,
    SeqAck,
    Welcome,
    as_payload,
    check_size,
    encode,
    encode_payload,
)
from ipc.traffic import Totals, TrafficLog

_FIRST_PAUSE_S = 0.05
_DRAIN_S = 0.4
_JOIN_S = 0.5
_LASTING_S = 1.0
_STALE_BEATS = 2

PayloadHandler = Callable[[Payload], None]
DeliveryHandler = Callable[[Message], None]
GapHandler = Callable[[int, int], None]
StateHandler = Callable[[ClientState], None]


class SocketClient:
    """Receives what the server broadcasts, in order, once, over any number of connections; sends back with acks.

    `name` is shown in the server's logs. Handlers are called on the client's thread: one that does not return holds up
    those that follow it.
    """

    def __init__(
        self,
        address: str = DEFAULT_SOCKET_PATH,
        *,
        authkey: bytes | None = None,
        name: str = "client",
        limits: Limits | None = None,
        log_payloads: bool = False,
    ) -> None:
        self.address = check_path(address)
        self.name = name
        self._authkey = authkey
        self._limits = limits or Limits()
        self._log_payloads = log_payloads
        self._client_id = uuid4().hex
        self._message_handlers: Handlers[PayloadHandler] = Handlers()
        self._delivery_handlers: Handlers[DeliveryHandler] = Handlers()
        self._gap_handlers: Handlers[GapHandler] = Handlers()
        self._state_handlers: Handlers[StateHandler] = Handlers()
        self._state = ClientState(kind="stopped", reason="not started")
        self._outbox = Outbox(self._limits.outbox_messages, self._limits.outbox_bytes)
        self._outbox_lock = threading.Lock()
        self._all_acknowledged = threading.Event()
        self._all_acknowledged.set()
        self._pending = PendingRequests(lambda callback: report_failure(self._log, callback))
        self._follower = Follower()
        self._duplicates = 0
        self._is_dialogue = False  # the last thing that came was a reply to somebody who waited for it
        self._lease = Lease(self._take_reply)
        self._decoder: ObjectDecoder[FromServer] = ObjectDecoder(FromServer)
        self._max_frame_bytes = self._limits.max_frame_bytes  # the server's, where that is smaller
        self._lifecycle_lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._socket: socket.socket | None = None
        self._connection: Connection | None = None
        self._departed = Counters()

    # -- from any thread -------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to connect, and go on until `stop`; a second call does nothing."""
        with self._lifecycle_lock:
            if self._thread is not None:
                return
            self._log = get_logger().bind(channel=self.name)
            self._traffic = TrafficLog(self._log, self.name, self._totals, log_payloads=self._log_payloads)
            self._flusher = Flusher(self._flush, self.name)
            self._stopping = threading.Event()  # a new one: a thread that a handler holds up still has to see its own
            self._thread = threading.Thread(
                target=self._run, args=(self._stopping,), name=f"ipc-client-{self.name}", daemon=True
            )
            self._thread.start()

    def stop(self) -> None:
        """Wait a moment for acks, say bye, and give everything back, within a second; a second call does nothing."""
        with self._lifecycle_lock:
            thread, self._thread = self._thread, None
            if thread is None:
                return
            is_outside = thread is not threading.current_thread()
            if is_outside:
                self._all_acknowledged.wait(_DRAIN_S)
            self._stopping.set()
            self._flusher.stop()
            connection, sock = self._connection, self._socket
            if connection is not None:
                connection.send_control(encode(Bye("the client stops")))
                connection.shutdown()
            elif sock is not None:
                hang_up(sock)
            if is_outside:
                thread.join(_JOIN_S)
            self._pending.fail_through(float("inf"), RequestError("stopped", "the client was stopped"))
            self._traffic.stop()

    def send_message(self, payload: Payload | str) -> bool:
        """Send `payload` to the server's message handlers, now or when it is back; True if it was accepted for that.

        False if the client was stopped, or so much waits to be acknowledged that the outbox is full. Text is sent as
        `{"type": "message", "message": text}`. Never waits. Raises PayloadError.
        """
        return self._post(b"message", payload) is not None

    def request(self, payload: Payload, timeout_s: float = 5.0) -> Payload:
        """Send `payload` to the server's handler for its "type" and wait for the reply.

        Raises RequestError: "timeout" after `timeout_s`, "disconnected" when the connection broke after the server had
        taken the request, "outbox_full", "stopped", or what the server answered; PayloadError.
        """
        if threading.current_thread() is self._thread:
            raise IpcError("request() in a handler would wait for its own thread: use begin_request()")
        waiter = Waiter()
        number = self.begin_request(payload, waiter)
        if self._lease.is_out:
            self._lease.read_reply(number)
        outcome = waiter.wait(timeout_s)
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
            code = "stopped" if self._stopping.is_set() else "outbox_full"
            raise RequestError(code, "the request was not sent")
        return number

    def cancel_request(self, number: int) -> bool:
        """Stop waiting for a reply; False if it has come, and `on_reply` has been or is being called."""
        return self._pending.discard(number)

    def acknowledge(self, seq: int) -> None:
        """Tell the server that everything up to `seq` was handled. The client does it by itself after its handlers."""
        connection = self._connection
        if connection is not None:
            connection.send_control(encode(SeqAck(seq)))

    def want_again(self, messages: list[Message]) -> None:
        """Ask for these messages, and what comes after them, at the next connection: they were not handled."""
        seqs = [message.seq for message in messages if message.seq]
        if seqs:
            self._follower.rewind(seqs[0] - 1)

    def add_message_handler(self, handler: PayloadHandler) -> PayloadHandler:
        """Have `handler(payload)` called with each message."""
        return self._message_handlers.add(handler)

    def add_delivery_handler(self, handler: DeliveryHandler) -> DeliveryHandler:
        """Have `handler(message)` called with each message and its `seq` and `ts` (unix seconds)."""
        return self._delivery_handlers.add(handler)

    def add_gap_handler(self, handler: GapHandler) -> GapHandler:
        """Have `handler(first, last)` called when those seqs can no longer come: reload what you show."""
        return self._gap_handlers.add(handler)

    def add_state_handler(self, handler: StateHandler) -> StateHandler:
        """Have `handler(state)` called at each change of state."""
        return self._state_handlers.add(handler)

    @property
    def state(self) -> ClientState:
        return self._state

    @property
    def stats(self) -> dict[str, Any]:
        """Return where this client is in the log, and what waits."""
        return {
            "epoch": self._follower.epoch,
            "last_seq": self._follower.last_seq,
            "duplicates": self._duplicates,
            "unacknowledged": len(self._outbox),
            "state": self._state.kind,
            "unknown_ops": self._decoder.unknown_ops,
            "unknown_fields": self._decoder.unknown_fields,
            **self._totals()._asdict(),
        }

    def _post(self, op: bytes, payload: Payload | str, on_reply: OnReply | None = None) -> int | None:
        """Put a message or request into the outbox and send it if possible; return its id, or None if it is full."""
        encoded = check_size(encode_payload(as_payload(payload)), self._max_frame_bytes)
        if self._stopping.is_set():
            return None
        with self._outbox_lock:
            if on_reply is not None:
                self._pending.add(self._outbox.next_id, on_reply)  # before anybody can send it, and be answered
            number = self._outbox.put(op, encoded)
            if number is not None:
                if self._all_acknowledged.is_set():
                    self._all_acknowledged.clear()
            elif on_reply is not None:
                self._pending.discard(self._outbox.next_id)
        if self._connection is not None:
            self._flusher.news()
        return number

    def _flush(self) -> None:
        connection = self._connection
        if connection is not None:
            connection.flush()

    def _totals(self) -> Totals:
        connection = self._connection
        current = Counters() if connection is None else connection.counters
        return Totals(*(getattr(self._departed, name) + getattr(current, name) for name in Totals._fields))

    # -- on the client's thread ------------------------------------------------------------------------------------

    def _run(self, stopping: threading.Event) -> None:
        """Body of the thread: one connection after the other."""
        failures = 0
        while not stopping.is_set():
            self._set_state(ClientState(kind="connecting", attempt=failures))
            began = time.monotonic()
            kind: Kind
            try:
                kind, reason = "waiting", self._connect_and_follow(stopping)
            except ProtocolError as error:
                kind, reason = _kind_of_failure(error), error.reason
            except AuthkeyError as error:
                kind, reason = ("unauthorized" if os.path.lexists(self.address) else "waiting"), str(error)
            except OSError as error:
                kind, reason = "waiting", f"{self.address}: {error.strerror or error}"
            except Exception as error:  # noqa: BLE001 - the thread's top frame
                self._log.critical("client_failed", exc_info=True)
                kind, reason = "waiting", f"{type(error).__name__}: {error}"
            has_lasted = self._has_been_live and time.monotonic() - began > _LASTING_S
            failures = 0 if has_lasted else failures + 1
            if failures and not stopping.is_set():
                longest_s = min(self._limits.retry_max_s, _FIRST_PAUSE_S * 2.0 ** min(failures, 20))
                retry_in_s = random.uniform(0.0, longest_s)  # noqa: S311 - full jitter, no secret
                self._set_state(ClientState(kind=kind, attempt=failures, retry_in_s=retry_in_s, reason=reason))
                stopping.wait(retry_in_s)
        if stopping is self._stopping:
            self._set_state(ClientState(kind="stopped"))

    def _connect_and_follow(self, stopping: threading.Event) -> str:
        """Live through one connection; return why it ended. Raises when it did not come about."""
        self._has_been_live = False
        authkey = resolve_key(self.address, self._authkey, create=False)
        with socket.socket(socket.AF_UNIX) as sock:
            self._socket = sock
            try:
                sock.settimeout(self._limits.connect_s)
                sock.connect(self.address)
                if stopping.is_set():
                    return "stopped"
                welcome, rest = self._shake_hands(sock, authkey)
                return self._follow(self._adopt(sock, welcome), welcome, rest)
            finally:
                if self._socket is sock:
                    self._socket = None

    def _shake_hands(self, sock: socket.socket, authkey: bytes) -> tuple[Welcome, list[FromServer]]:
        """Authenticate and introduce ourselves; return the welcome and what came in the same frame after it."""
        stream = DeadlineStream(sock, time.monotonic() + self._limits.connect_s)
        authenticate_server(stream, authkey)
        self._set_state(ClientState(kind="resuming"))
        resume = self._follower.resume()
        hello = Hello(PROTOCOL_VERSION, self._client_id, self.name, resume, self._limits.max_frame_bytes)
        try:
            stream.send_bytes(encode(hello))
            objects = self._decoder.decode(stream.recv_bytes(self._limits.max_frame_bytes))
        except EOFError as error:
            raise ProtocolError("closed_early", "the server hung up before its welcome") from error
        first = objects[0] if objects else None
        if isinstance(first, Bye):
            is_incompatible = first.reason.startswith(INCOMPATIBLE)
            raise ProtocolError("incompatible" if is_incompatible else "refused", first.reason[:MAX_REASON])
        if not isinstance(first, Welcome) or first.protocol != PROTOCOL_VERSION:
            raise ProtocolError("incompatible", f"{INCOMPATIBLE}: the server does not speak {PROTOCOL_VERSION}")
        return first, objects[1:]

    def _adopt(self, sock: socket.socket, welcome: Welcome) -> Connection:
        """Make a connection that goes on where the server's last one of ours ended."""
        self._follower.begin(welcome)
        self._max_frame_bytes = min(self._limits.max_frame_bytes, welcome.max_frame_bytes)
        self._acks = AckPacer(self._follower.last_seq)
        with self._outbox_lock:
            self._outbox.acknowledge(welcome.last_id)
            cursor = self._outbox.oldest - 1
            if len(self._outbox) == 0:
                self._all_acknowledged.set()
        self._pending.fail_through(cursor, _lost("the connection broke before its reply"))
        return Connection(
            sock, self._outbox, cursor, self._limits, self._note_sent, self._pass_over, welcome.max_frame_bytes
        )

    def _follow(self, connection: Connection, welcome: Welcome, first_objects: list[FromServer]) -> str:
        """Handle what the server sends until its end; return the reason of that."""
        self._connection = connection
        self._lease.begin(connection, self._decoder)
        self._is_dialogue = False
        self._has_been_live = True
        live = ClientState(kind="live", resumed=welcome.resumed)
        try:
            connection.flush()
            self._set_state(live)
            reason = self._handle_all(first_objects)
            while reason is None:
                if (self._is_dialogue or self._lease.has_failed) and not self._acks.is_pending:
                    found = self._lease.lend()
                    self._is_dialogue = False
                    for objects in found:
                        reason = reason or self._handle_all(objects)
                    continue
                bodies = connection.receive(soon=self._acks.is_pending)
                if bodies is None:
                    return "connection closed"
                self._set_state(_STALE if connection.silent_beats >= _STALE_BEATS else live)
                if bodies:
                    for objects in self._decoder.decode_frames(bodies):
                        reason = reason or self._handle_all(objects)
                elif connection.silent_beats:
                    connection.send_control(encode(Ping(connection.silent_beats)))
                if self._acks.is_pending and (handled := self._acks.take(time.monotonic())) is not None:
                    connection.send_control(encode(SeqAck(handled)))
            return reason
        except ProtocolError as error:
            connection.send_control(encode(Bye(error.reason)))
            raise
        finally:
            if self._connection is connection:
                self._connection = None
            connection.close()
            self._departed.add(connection.counters)

    def _handle_all(self, objects: list[FromServer]) -> str | None:
        """Handle the objects of one frame in order; return the reason if one of them is a bye."""
        follower = self._follower
        messages: list[Message] = []
        for each in objects:
            if isinstance(each, Message):
                if each.seq == follower.last_seq + 1:
                    follower.last_seq = each.seq
                    messages.append(each)
                elif self._is_wanted(each.seq):
                    messages.append(each)
                continue
            self._deliver_all(messages)
            messages = []
            if isinstance(each, Bye):
                return each.reason[:MAX_REASON]
            self._handle(each)
        self._deliver_all(messages)
        return None

    def _is_wanted(self, seq: int) -> bool:
        """Judge a message that is not simply the next one."""
        if seq == 0:
            return True
        if not self._follower.is_new(seq):
            self._duplicates += 1
            return False
        if missing := self._follower.admit(seq):
            self._report_gap(*missing)
        return True

    def _handle(self, received: Welcome | Gap | Reply | IdAck | Ping | Pong) -> None:
        match received:
            case Reply():
                self._take_reply(received)
            case IdAck(id=last_id):
                self._note_acknowledged(last_id)
                self._pending.fail_through(last_id, _lost("its reply went to an earlier connection"))
            case Gap(first=first, last=last):
                self._follower.skip(last)
                self._report_gap(first, last)
            case Ping(n=n):
                self._answer_ping(n)
            case Pong():
                pass  # its arrival has ended the silence
            case Welcome():
                raise ProtocolError("duplicate_welcome", "only the first object may be a welcome")
            case _:
                assert_never(received)

    def _take_reply(self, reply: Reply) -> None:
        """End the request that waits for `reply`. On the client's thread, or on one that reads for itself."""
        self._note_received([reply])
        self._note_acknowledged(reply.id)
        self._is_dialogue = self._pending.resolve(reply)

    def _deliver_all(self, messages: list[Message]) -> None:
        if messages:
            self._note_received(messages)
            self._traffic.latencies_s.append(time.time() - messages[-1].ts)
            self._deliver(messages)

    def _note_received(self, messages: list[Message] | list[Reply]) -> None:
        self._flusher.heard()
        connection = self._connection
        if connection is not None:
            connection.counters.received += len(messages)
        if not self._traffic.is_folding:
            self._traffic.received("server", messages)

    def _deliver(self, messages: list[Message]) -> None:
        """Call the handlers; afterwards the messages count as handled."""
        if self._delivery_handlers:
            for message in messages:
                self._delivery_handlers.call(self._log, message)
                self._message_handlers.call(self._log, message.payload)
        else:
            self._message_handlers.call_each(self._log, [message.payload for message in messages])
        self._acks.note(max(self._follower.last_seq, 0))

    def _answer_ping(self, n: int) -> None:
        connection = self._connection
        if connection is not None:
            connection.send_control(encode(Pong(n)))

    def _report_gap(self, first: int, last: int) -> None:
        self._log.warning("gap_received", first=first, last=last)
        self._gap_handlers.call(self._log, first, last)

    def _note_acknowledged(self, last_id: int) -> None:
        with self._outbox_lock:
            self._outbox.acknowledge(last_id)
            if len(self._outbox) == 0:
                self._all_acknowledged.set()

    def _pass_over(self, first: int, last: int) -> bytes:
        """Give up messages that were accepted before the server said how small its frames are."""
        self._log.error("message_dropped", first_id=first, last_id=last, reason="too large for the server's frames")
        self._pending.fail_through(last, RequestError("too_large", "the request is too large for the server's frames"))
        return b""

    def _note_sent(self, encoded: bytes, count: int) -> None:
        if not self._traffic.is_folding:
            self._traffic.sent("server", encoded, count)

    def _set_state(self, state: ClientState) -> None:
        if state is not self._state and state != self._state:
            self._state = state
            self._state_handlers.call(self._log, state)


def _lost(how: str) -> RequestError:
    return RequestError("disconnected", f"the server has taken the request, but {how}")


_STALE = ClientState(kind="stale", reason="nothing has come from the server for longer than its heartbeat")


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
_default_handlers: list[PayloadHandler] = []


def start_socket_client(address: str = DEFAULT_SOCKET_PATH) -> SocketClient:
    """Start this process's client, unless it runs already, and return it. It connects when there is a server."""
    global _default
    if _default is None:
        _default = SocketClient(address)
        for handler in _default_handlers:
            _default.add_message_handler(handler)
        _default.start()
        atexit.register(stop_socket_client)
    return _default


def stop_socket_client() -> None:
    """Stop this process's client, if it runs."""
    global _default
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
