"""One client as the server sees it, from the accepted socket to its end. Runs on a thread of its own."""

import collections
import socket
import threading
import time
from collections.abc import Callable
from typing import assert_never

import msgspec

from ipc.ack import AckPacer
from ipc.clients import ClientRecord
from ipc.connection import LAST_WORDS_S, Connection
from ipc.errors import ProtocolError
from ipc.framing import frame
from ipc.handshake import DeadlineStream, authenticate_client, check_same_user, peer_process
from ipc.hub import Hub
from ipc.message_log import starting_point
from ipc.protocol import (
    INCOMPATIBLE,
    MAX_REASON,
    PROTOCOL_VERSION,
    Bye,
    ClientMessage,
    FromClient,
    Gap,
    Hello,
    IdAck,
    ObjectDecoder,
    Ping,
    Pong,
    Request,
    SeqAck,
    Welcome,
    encode,
)

_LATENCY_SAMPLES = 512
_GAP_LINE_S = 1.0


class PeerInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a connected client.

    `lag` is how many messages it has not been sent yet, `queue` how many control objects. `p50_ms` and `p99_ms` are of
    the time from a message to its acknowledgement.
    """

    id: str
    name: str
    client: str
    pid: int
    cursor: int
    acked_seq: int
    lag: int
    queue: int
    sent: int
    sent_bytes: int
    received: int
    received_bytes: int
    p50_ms: float | None
    p99_ms: float | None


class Peer:
    """A client's connection. `run` is its thread; the rest may be called from any, once it has joined the hub."""

    def __init__(self, hub: Hub, sock: socket.socket, number: int) -> None:
        self.id = f"peer-{number}"
        self.client = ""
        self.acked_seq = 0
        self.duplicates = 0
        self.thread = 0
        self._hello: Hello
        self.connection: Connection
        self._record: ClientRecord
        self._hub = hub
        self._socket = sock
        self._number = number
        self._pid = 0
        self._decoder: ObjectDecoder[FromClient] = ObjectDecoder(FromClient)
        self._end_reason = ""
        self._probe: tuple[int, float] | None = None
        self._sent_seq = 0
        self._untold_gap: tuple[int, int, int] | None = None  # first, last, and how many of those between
        self._gap_told_at = float("-inf")
        self._latencies_s: collections.deque[float] = collections.deque(maxlen=_LATENCY_SAMPLES)

    # -- from any thread -------------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Send what the log holds past this client's cursor."""
        self.connection.flush()

    def send_message(self, encoded: bytes) -> bool:
        """Send one message or reply outside the log; False if too much waits already."""
        return self.connection.send_control(encoded, messages=1)

    def end(self, reason: str, patience_s: float = LAST_WORDS_S) -> None:
        """Say bye, if that is possible within `patience_s`, and end the connection; the thread cleans up."""
        self._end_reason = self._end_reason or reason
        self.connection.shut_down_after(encode(Bye(reason)), patience_s)

    def wait_until_sent(self, timeout_s: float) -> None:
        self.connection.wait_until_sent(timeout_s)

    def info(self) -> PeerInfo:
        connection, hello = self.connection, self._hello
        counters = connection.counters
        latencies_s = sorted(self._latencies_s)
        return PeerInfo(
            id=self.id,
            name=hello.name,
            client=self.client,
            pid=self._pid,
            cursor=connection.cursor,
            acked_seq=self.acked_seq,
            lag=max(0, self._hub.log.newest - connection.cursor),
            queue=connection.queue,
            sent=counters.sent,
            sent_bytes=counters.sent_bytes,
            received=counters.received,
            received_bytes=counters.received_bytes,
            p50_ms=_percentile_ms(latencies_s, 50),
            p99_ms=_percentile_ms(latencies_s, 99),
        )

    def totals(self) -> dict[str, int]:
        """Return this peer's share of the server's totals."""
        counters = self.connection.counters
        return {
            "sent": counters.sent,
            "sent_bytes": counters.sent_bytes,
            "received": counters.received,
            "received_bytes": counters.received_bytes,
            "duplicates": self.duplicates,
            "unknown_ops": self._decoder.unknown_ops,
            "unknown_fields": self._decoder.unknown_fields,
        }

    # -- on its own thread -----------------------------------------------------------------------------------------

    def run(self, on_greeted: Callable[[], None]) -> None:
        """Serve this client until it leaves. `on_greeted` is called once it is no longer a stranger, or gone."""
        self.thread = threading.get_ident()
        try:
            rest = self._greet()
        except ProtocolError as error:
            self._hub.rejections.note(error.kind, error.reason)
            _say_bye(self._socket, error.reason)
            self._socket.close()
            return
        finally:
            on_greeted()
        self._serve(rest)

    def _greet(self) -> list[FromClient]:
        """Authenticate and read `hello`; return what came in the same frame after it."""
        deadline = time.monotonic() + self._hub.limits.handshake_s
        try:
            self._pid, uid = peer_process(self._socket)
            check_same_user(uid)
            stream = DeadlineStream(self._socket, deadline)
            authenticate_client(stream, self._hub.authkey)
            objects = self._decoder.decode(stream.recv_bytes(self._hub.limits.max_frame_bytes))
        except TimeoutError as error:
            raise ProtocolError("hello_timeout", f"no hello within {self._hub.limits.handshake_s} s") from error
        except (OSError, EOFError) as error:
            raise ProtocolError("closed_early", f"gone before hello: {error}") from error
        first = objects[0] if objects else None
        if not isinstance(first, Hello):
            raise ProtocolError("no_hello", "the first object must be a hello")
        if first.protocol != PROTOCOL_VERSION:
            raise ProtocolError("incompatible", f"{INCOMPATIBLE} {first.protocol}, this is {PROTOCOL_VERSION}")
        self._hello = first
        self.client = first.client
        self.id = f"{first.name or 'client'}-{self._number}"
        return objects[1:]

    def _serve(self, first_objects: list[FromClient]) -> None:
        hub = self._hub
        self._record = hub.clients.arrive(self.client)
        try:
            cursor, is_resumed = starting_point(hub.log, self._hello.resume)
            self.connection = Connection(
                self._socket,
                hub.log,
                cursor,
                hub.limits,
                self._note_sent,
                self._announce_gap,
                self._hello.max_frame_bytes,
            )
            self.acked_seq = cursor  # what it has come with, or never asked for, is nothing that it lags behind with
        except Exception:
            self._socket.close()  # a log on disk may fail; the client comes again
            hub.clients.depart(self.client)
            raise
        try:
            reason = self._join_and_follow(is_resumed, first_objects)
        except ProtocolError as error:
            hub.rejections.note(error.kind, error.reason)
            self.end(error.reason)
            reason = error.reason
        finally:
            hub.leave(self)
            hub.clients.depart(self.client)
            self.connection.close()
            self._tell_gap()
        hub.logger.info("peer_left", peer=self.id, reason=self._end_reason or reason)

    def _join_and_follow(self, is_resumed: bool, first_objects: list[FromClient]) -> str:
        hub, connection = self._hub, self.connection
        cursor = self._sent_seq = connection.cursor
        with connection.first(self._welcome(is_resumed)):  # whoever has a welcome is one of those who are here
            if not hub.join(self):
                full = f"this server has its {hub.limits.max_peers} clients"
                raise ProtocolError("no_room", "the server stops" if hub.is_closed else full)
        hub.logger.info("peer_joined", peer=self.id, peer_pid=self._pid, resumed=is_resumed, cursor=cursor)
        return self._follow(first_objects)

    def _welcome(self, is_resumed: bool) -> bytes:
        log, limits = self._hub.log, self._hub.limits
        last_id = self._record.take_over(self, limits.handshake_s)
        if last_id is None:
            raise ProtocolError("busy", "an earlier message of this client is still being handled")
        self._pacer = AckPacer(last_id)
        return encode(
            Welcome(
                protocol=PROTOCOL_VERSION,
                epoch=log.epoch,
                seq=log.newest,
                oldest=log.oldest,
                resumed=is_resumed,
                heartbeat_s=limits.heartbeat_s,
                max_frame_bytes=limits.max_frame_bytes,
                last_id=last_id,
            )
        )

    def _follow(self, first_objects: list[FromClient]) -> str:
        """Handle what the client sends until its end; return the reason of that."""
        connection = self.connection
        reason = self._handle_all(first_objects)
        while reason is None:
            bodies = connection.receive(soon=self._pacer.is_pending)
            if bodies is None:
                return "connection closed"
            if bodies:
                for objects in self._decoder.decode_frames(bodies):
                    reason = reason or self._handle_all(objects)
            elif connection.silent_beats:
                connection.send_control(encode(Ping(connection.silent_beats)))
            if self._untold_gap is not None and time.monotonic() - self._gap_told_at > _GAP_LINE_S:
                self._tell_gap()
            if self._pacer.is_pending and (handled := self._pacer.take(time.monotonic())) is not None:
                connection.send_control(encode(IdAck(handled)))
        return reason

    def _handle_all(self, objects: list[FromClient]) -> str | None:
        """Handle the objects of one frame in order; return the reason if one of them is a bye."""
        for each in objects:
            match each:
                case ClientMessage() | Request():
                    self._handle_once(each)
                case SeqAck(seq=seq):
                    self._note_ack(seq)
                case Ping(n=n):
                    self._must_send(self.connection.send_control(encode(Pong(n))))
                case Pong():
                    pass  # its arrival has ended the silence
                case Bye(reason=reason):
                    return reason[:MAX_REASON]
                case Hello():
                    raise ProtocolError("duplicate_hello", "only the first object may be a hello")
                case _:
                    assert_never(each)
        return None

    def _handle_once(self, received: ClientMessage | Request) -> None:
        """Hand a message or a request to the application, unless it has had it on this or an earlier connection."""
        self._hub.flusher.heard()
        record, number = self._record, received.id
        is_new = record.begin(self, number)
        if is_new is None:
            return  # what is left here was not acknowledged, and the client repeats it on its newer connection
        if not is_new:
            self.duplicates += 1
            self._pacer.note(record.last_id)
            return
        try:
            self.connection.counters.received += 1
            if not self._hub.traffic.is_folding:
                self._hub.traffic.received(self.id, [received])
            if isinstance(received, ClientMessage):
                self._hub.message_handlers.call(self._hub.logger, received.payload)
                self._pacer.note(number)
            else:
                reply = self._hub.answer(number, received.payload, self._hello.max_frame_bytes)
                self._must_send(self.send_message(reply))
                self._pacer.settle(number)  # a reply says all that an ack would
        finally:
            record.end()

    def _must_send(self, is_accepted: bool) -> None:
        """Cut a client that asks and does not read, rather than keep its answers in memory."""
        if not is_accepted:
            raise ProtocolError("control_overflow", "too many replies wait to be read")

    def _note_sent(self, encoded: bytes, count: int) -> None:
        cursor = self.connection.cursor
        if self._probe is None and cursor != self._sent_seq:  # not a reply, which is never acknowledged
            self._probe = (cursor, time.monotonic())
        self._sent_seq = cursor
        if not self._hub.traffic.is_folding:
            self._hub.traffic.sent(self.id, encoded, count)

    def _note_ack(self, seq: int) -> None:
        previous, seq = self.acked_seq, min(seq, self.connection.cursor)
        if seq > previous:
            self._hub.ack_handlers.call(self._hub.logger, previous, seq)
            self.acked_seq = seq  # last: whoever sees it finds what the handlers have made of it
        probe = self._probe
        if probe is not None and seq >= probe[0]:
            latency_s = time.monotonic() - probe[1]
            self._latencies_s.append(latency_s)
            self._hub.traffic.latencies_s.append(latency_s)
            self._probe = None

    def _announce_gap(self, first: int, last: int) -> bytes:
        begin, _, count = self._untold_gap or (first, 0, 0)
        self._untold_gap = begin, last, count + last + 1 - first
        return encode(Gap(first, last))

    def _tell_gap(self) -> None:
        """Log what was passed over since the last time. On our own thread: whoever broadcasts waits for no log."""
        gap, self._untold_gap = self._untold_gap, None
        if gap is not None:
            self._hub.logger.warning("gap_sent", peer=self.id, first=gap[0], last=gap[1], count=gap[2])
            self._gap_told_at = time.monotonic()


def _percentile_ms(ordered_s: list[float], percent: int) -> float | None:
    return round(1000 * ordered_s[len(ordered_s) * percent // 100], 3) if ordered_s else None


def _say_bye(sock: socket.socket, reason: str) -> None:
    """Tell a stranger why it is turned away, if its socket takes that at once."""
    try:
        sock.setblocking(False)
        sock.send(frame(encode(Bye(reason))))
    except OSError:
        pass  # it is gone, or does not read
