"""One connection as the client sees it, from `connect` to its end. Runs on the client's thread."""

import socket
import time
from typing import assert_never

from ipc.ack import AckPacer
from ipc.client_hub import ClientHub, lost
from ipc.client_state import ClientState
from ipc.connection import LAST_WORDS_S, Connection
from ipc.errors import ProtocolError, RequestError
from ipc.framing import frame
from ipc.handshake import DeadlineStream, authenticate_server
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
    Ping,
    Pong,
    Reply,
    SeqAck,
    Welcome,
    encode,
)

_STALE_BEATS = 2
_STALE = ClientState(kind="stale", reason="nothing has come from the server for longer than its heartbeat")


def greet(hub: ClientHub, sock: socket.socket, authkey: bytes) -> "ClientSession":
    """Authenticate on a connected socket, introduce ourselves, and return the session that the welcome begins.

    Raises ProtocolError, whose kind is "unauthorized" or "incompatible" where that is the reason.
    """
    limits = hub.limits
    stream = DeadlineStream(sock, time.monotonic() + limits.connect_s)
    authenticate_server(stream, authkey)
    hub.set_state(ClientState(kind="resuming"))
    hello = Hello(PROTOCOL_VERSION, hub.client_id, hub.name, hub.follower.resume(), limits.max_frame_bytes)
    try:
        stream.send_bytes(encode(hello))
        body = stream.recv_bytes(limits.max_frame_bytes)
        objects = hub.decoder.decode(body)
    except EOFError as error:
        raise ProtocolError("closed_early", "the server hung up before its welcome") from error
    first = objects[0] if objects else None
    if isinstance(first, Bye):
        is_incompatible = first.reason.startswith(INCOMPATIBLE)
        raise ProtocolError("incompatible" if is_incompatible else "refused", first.reason[:MAX_REASON])
    if not isinstance(first, Welcome) or first.protocol != PROTOCOL_VERSION:
        raise ProtocolError("incompatible", f"{INCOMPATIBLE}: the server does not speak {PROTOCOL_VERSION}")
    return ClientSession(hub, sock, first, objects[1:], len(frame(body)))


class ClientSession:
    """A connection that has its welcome, in a frame of `received_bytes` bytes. `follow` lives through it."""

    def __init__(
        self,
        hub: ClientHub,
        sock: socket.socket,
        welcome: Welcome,
        first_objects: list[FromServer],
        received_bytes: int,
    ) -> None:
        self._hub = hub
        self._first_objects = first_objects
        cursor, is_resumed = hub.begin(welcome)
        self._live = ClientState(kind="live", resumed=is_resumed)
        self._acks = AckPacer(hub.follower.last_seq)
        self._connection = Connection(
            sock, hub.outbox, cursor, hub.limits, self._note_sent, self._pass_over, welcome.max_frame_bytes
        )
        self._connection.counters.received_bytes = received_bytes

    def follow(self) -> str:
        """Handle what the server sends until its end; return the reason of that. Raises ProtocolError."""
        hub, connection = self._hub, self._connection
        hub.lease.begin(connection, hub.decoder)
        hub.connection = connection
        try:
            connection.flush()
            hub.set_state(self._live)
            reason = self._handle_all(self._first_objects)
            while reason is None:
                if (hub.is_dialogue or hub.lease.has_failed) and not self._acks.is_pending:
                    reason = self._lend()
                else:
                    reason = self._read()
            return reason
        except ProtocolError as error:
            connection.shut_down_after(encode(Bye(error.reason)), LAST_WORDS_S)
            raise
        finally:
            connection.close()
            hub.depart(connection)

    def _lend(self) -> str | None:
        """Leave the reading to callers that ask one request after the other, for as long as they do."""
        found = self._hub.lease.lend()
        self._hub.is_dialogue = False
        reason = None
        for objects in found:
            reason = reason or self._handle_all(objects)
        return reason

    def _read(self) -> str | None:
        """Wait for bytes and handle them; return the reason if that was the end."""
        connection, acks = self._connection, self._acks
        bodies = connection.receive(soon=acks.is_pending)
        if bodies is None:
            return "connection closed"
        self._hub.set_state(_STALE if connection.silent_beats >= _STALE_BEATS else self._live)
        reason = None
        if bodies:
            for objects in self._hub.decoder.decode_frames(bodies):
                reason = reason or self._handle_all(objects)
        elif connection.silent_beats:
            connection.send_control(encode(Ping(connection.silent_beats)))
        if acks.is_pending and (handled := acks.take(time.monotonic())) is not None:
            connection.send_control(encode(SeqAck(handled)))
        return reason

    def _handle_all(self, objects: list[FromServer]) -> str | None:
        """Handle the objects of one frame in order; return the reason if one of them is a bye."""
        follower = self._hub.follower
        messages: list[Message] = []
        for each in objects:
            if isinstance(each, Message):
                if each.seq == follower.last_seq + 1:
                    follower.last_seq = each.seq
                    messages.append(each)
                elif self._is_wanted(each.seq):
                    messages.append(each)
                continue
            self._deliver(messages)
            messages = []
            if isinstance(each, Bye):
                return each.reason[:MAX_REASON]
            self._handle(each)
        self._deliver(messages)
        return None

    def _is_wanted(self, seq: int) -> bool:
        """Judge a message that is not simply the next one."""
        if seq == 0:
            return True
        if not self._hub.follower.is_new(seq):
            self._hub.duplicates += 1
            return False
        if missing := self._hub.follower.admit(seq):
            self._hub.report_gap(*missing)
        return True

    def _deliver(self, messages: list[Message]) -> None:
        if messages:
            hub = self._hub
            hub.note_received(messages)
            hub.traffic.latencies_s.append(time.time() - messages[-1].ts)
            try:
                is_handled = hub.deliver(messages)
            except BaseException:  # no handler's, those are caught: it is not known what was told, so all comes again
                hub.follower.want_again(messages)
                raise
            if is_handled:
                self._acks.note(hub.follower.last_seq)

    def _handle(self, received: Welcome | Gap | Reply | IdAck | Ping | Pong) -> None:
        hub = self._hub
        match received:
            case Reply():
                hub.take_reply(received)
            case IdAck(id=last_id):
                hub.note_acknowledged(last_id)
                hub.pending.fail_through(last_id, lost("its reply went to an earlier connection"))
            case Gap(first=first, last=last):
                hub.follower.skip(last)
                hub.report_gap(first, last)
            case Ping(n=n):
                self._connection.send_control(encode(Pong(n)))
            case Pong():
                pass  # its arrival has ended the silence
            case Welcome():
                raise ProtocolError("duplicate_welcome", "only the first object may be a welcome")
            case _:
                assert_never(received)

    def _note_sent(self, encoded: bytes, count: int) -> None:
        if not self._hub.traffic.is_folding:
            self._hub.traffic.sent("server", encoded, count)

    def _pass_over(self, first: int, last: int) -> bytes:
        """Give up messages that were accepted before the server said how small its frames are."""
        hub, reason = self._hub, "too large for the server's frames"
        hub.logger.error("message_dropped", first_id=first, last_id=last, reason=reason)
        hub.pending.fail_through(last, RequestError("too_large", f"the request is {reason}"))
        return b""
