"""What the connections of one client share: the handlers, what waits to be sent or answered, how far we have come."""

import threading
from collections.abc import Callable
from typing import Any
from uuid import uuid4

from ipc.client_state import ClientState
from ipc.connection import Connection, Counters
from ipc.errors import RequestError
from ipc.flusher import Flusher
from ipc.follower import Follower
from ipc.handlers import Handlers, report_failure
from ipc.lease import Lease
from ipc.limits import Limits
from ipc.outbox import Outbox
from ipc.pending import OnReply, PendingRequests
from ipc.protocol import FromServer, Message, ObjectDecoder, Payload, Reply, Welcome
from ipc.traffic import Totals, TrafficLog

PayloadHandler = Callable[[Payload], None]
DeliveryHandler = Callable[[Message], None]
GapHandler = Callable[[int, int], None]
StateHandler = Callable[[ClientState], None]


class ClientHub:
    """Shared by all threads of a client. `connection` is the one that is live, if any.

    `deliver(messages)` is called with what has come and returns whether it was handled; it calls the handlers, unless
    somebody has put another function in its place, who then acknowledges by himself.
    """

    def __init__(self, name: str, limits: Limits) -> None:
        self.name = name
        self.client_id = uuid4().hex
        self.limits = limits
        self.message_handlers: Handlers[PayloadHandler] = Handlers()
        self.delivery_handlers: Handlers[DeliveryHandler] = Handlers()
        self.gap_handlers: Handlers[GapHandler] = Handlers()
        self.state_handlers: Handlers[StateHandler] = Handlers()
        self.deliver: Callable[[list[Message]], bool] = self.call_handlers
        self.state = self._told_state = ClientState(kind="stopped", reason="not started")
        self.follower = Follower()
        self.decoder: ObjectDecoder[FromServer] = ObjectDecoder(FromServer)
        self.pending = PendingRequests(lambda callback: report_failure(self.logger, callback))
        self.lease = Lease(self.take_reply, self.pending.is_awaited)
        self.connection: Connection | None = None
        self.max_frame_bytes = limits.max_frame_bytes  # the server's, where that is smaller
        self.duplicates = 0
        self.is_dialogue = False  # the last thing that came was a reply to a thread that waited for it
        self.all_acknowledged = threading.Event()
        self.all_acknowledged.set()
        self.outbox = Outbox(limits.outbox_messages, limits.outbox_bytes)
        self._outbox_lock = threading.Lock()
        self._departed = Counters()

    def open(self, logger: Any, *, log_payloads: bool, traffic_level: str = "info") -> None:
        """Set what is known only once the client starts."""
        self.logger = logger
        self.traffic = TrafficLog(
            logger, self.name, self.totals, lag=self.lag, log_payloads=log_payloads, level=traffic_level
        )
        self.flusher = Flusher(self._flush, self.name)

    # -- outgoing, from any thread -----------------------------------------------------------------------------------

    def post(self, op: bytes, encoded: bytes, on_reply: OnReply | None = None) -> int | None:
        """Put a message or request into the outbox and send it if possible; return its id, or None if it is full."""
        with self._outbox_lock:
            if on_reply is not None:
                self.pending.add(self.outbox.next_id, on_reply)  # before anybody can send it, and be answered
            number = self.outbox.put(op, encoded)
            if number is not None:
                if self.all_acknowledged.is_set():
                    self.all_acknowledged.clear()
            elif on_reply is not None:
                self.pending.discard(self.outbox.next_id)
        if self.connection is not None:
            self.flusher.news()
        return number

    def note_acknowledged(self, last_id: int) -> int:
        """Forget what the server has handled; return the id after which its cursor stands."""
        with self._outbox_lock:
            self.outbox.acknowledge(last_id)
            if len(self.outbox) == 0:
                self.all_acknowledged.set()
            return self.outbox.oldest - 1

    def _flush(self) -> None:
        connection = self.connection
        if connection is not None:
            connection.flush()

    # -- incoming ----------------------------------------------------------------------------------------------------

    def begin(self, welcome: Welcome) -> tuple[int, bool]:
        """Take up what `welcome` says; return the id after which our messages go out, and whether we are resumed."""
        is_resumed = self.follower.begin(welcome)
        self.max_frame_bytes = min(self.limits.max_frame_bytes, welcome.max_frame_bytes)
        self.is_dialogue = False
        cursor = self.note_acknowledged(welcome.last_id)
        self.pending.fail_through(cursor, lost("the connection broke before its reply"))
        return cursor, is_resumed

    def take_reply(self, reply: Reply) -> None:
        """End the request that waits for `reply`. On the client's thread, or on one that reads for itself."""
        self.note_received([reply])
        self.note_acknowledged(reply.id)
        self.is_dialogue = self.pending.resolve(reply)

    def call_handlers(self, messages: list[Message]) -> bool:
        """Call the application's functions with each message."""
        if self.delivery_handlers:
            for message in messages:
                self.delivery_handlers.call(self.logger, message)
                self.message_handlers.call(self.logger, message.payload)
        else:
            self.message_handlers.call_each(self.logger, [message.payload for message in messages])
        return True

    def note_received(self, messages: list[Message] | list[Reply]) -> None:
        """Count and log what has come."""
        self.flusher.heard()
        connection = self.connection
        if connection is not None:
            connection.counters.received += len(messages)
            if not self.traffic.is_folding:
                self.traffic.received("server", messages)

    def report_gap(self, first: int, last: int) -> None:
        self.logger.warning("gap_received", first=first, last=last)
        self.gap_handlers.call(self.logger, first, last)

    # -- about itself ------------------------------------------------------------------------------------------------

    def set_state(self, state: ClientState) -> None:
        """Be in `state`, and tell the handlers unless it is what they were told last. On the client's thread."""
        if state is not self._told_state and state != self._told_state:
            self.state = self._told_state = state
            self.state_handlers.call(self.logger, state)

    def depart(self, connection: Connection) -> None:
        """Forget a connection that has ended, but not what went through it."""
        if self.connection is connection:
            self.connection = None
        self._departed.add(connection.counters)

    def lag(self) -> int:
        """Return how many messages have not been sent yet."""
        connection = self.connection
        return len(self.outbox) if connection is None else max(0, self.outbox.newest - connection.cursor)

    def progress(self) -> tuple[int, int]:
        """Return what grows on a connection that is of use: what has come, and what was acknowledged."""
        return self.totals().received, self.outbox.oldest

    def totals(self) -> Totals:
        """Return what has passed on all connections so far."""
        connection = self.connection
        current = Counters() if connection is None else connection.counters
        return Totals(*(getattr(self._departed, name) + getattr(current, name) for name in Totals._fields))


def lost(how: str) -> RequestError:
    """Return the error of a request whose outcome is not known."""
    return RequestError("disconnected", f"the server has taken the request, but {how}")
