"""What the connections of one server share: the log they follow, the handlers they call, the list of who is there."""

import threading
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ipc.clients import ClientRecords
from ipc.errors import RequestError, as_text
from ipc.flusher import Flusher
from ipc.handlers import Handlers
from ipc.limits import Limits
from ipc.message_log import MessageLog
from ipc.protocol import ENVELOPE_BYTES, Payload, Reply, ReplyError, encode, encode_payload
from ipc.rejections import Rejections
from ipc.traffic import Totals, TrafficLog

if TYPE_CHECKING:
    from ipc.peer import Peer

MessageHandler = Callable[[Payload], None]
AckHandler = Callable[[int, int], None]
RequestHandler = Callable[[Payload], Payload]

_MAX_ERROR_CHARS = 1000


class Hub:
    """Shared by all threads of a server. `peers` are those who are there now; it is replaced, never changed."""

    def __init__(self, log: MessageLog, limits: Limits) -> None:
        self.log = log
        self.limits = limits
        self.message_handlers: Handlers[MessageHandler] = Handlers()
        self.ack_handlers: Handlers[AckHandler] = Handlers()
        self.request_handlers: dict[str, RequestHandler] = {}
        self.clients = ClientRecords(limits.max_known_clients)
        self.authkey = b""
        self._lock = threading.Lock()
        self.peers: tuple[Peer, ...] = ()
        self.is_closed = True
        self._departed: Counter[str] = Counter()

    def open(self, authkey: bytes, logger: Any, traffic: TrafficLog) -> None:
        """Set what is known only once the server starts."""
        self.authkey = authkey
        self.logger = logger
        self.traffic = traffic
        self.rejections = Rejections(logger)
        self.flusher = Flusher(self.flush, "server")
        self.is_closed = False

    def close(self) -> tuple["Peer", ...]:
        """Let nobody join any more; return who is here."""
        with self._lock:
            self.is_closed = True
            return self.peers

    def flush(self) -> None:
        """Send what the log holds past each cursor. Never waits, and never raises: the message is in the log."""
        for peer in self.peers:
            try:
                peer.connection.flush()
            except Exception as error:  # noqa: BLE001 - a log on disk may fail; this peer is sent it with the next news
                self.logger.error("flush_failed", peer=peer.id, reason=f"{type(error).__name__}: {error}")

    def lag(self) -> int:
        """Return how many messages the peer that is furthest behind has not been sent yet."""
        newest = self.log.newest
        return max((max(0, newest - peer.connection.cursor) for peer in self.peers), default=0)

    def traffic_totals(self) -> Totals:
        """Return what the traffic log tells of."""
        totals = self.totals()
        return Totals(*(totals.get(name, 0) for name in Totals._fields))

    def join(self, peer: "Peer") -> bool:
        """Let `peer` follow the log; an older connection of the same client ends. False when there is no room."""
        with self._lock:
            older = [other for other in self.peers if other.client == peer.client]
            has_room = not self.is_closed and len(self.peers) - len(older) < self.limits.max_peers
            if has_room:
                self.peers = (*self.peers, peer)
        for other in older:  # in any case: what comes through it is not handled any more
            other.end("replaced by a newer connection of the same client")
        return has_room

    def leave(self, peer: "Peer") -> None:
        """Forget `peer`, but not what it did."""
        with self._lock:
            if peer in self.peers:
                self.peers = tuple(other for other in self.peers if other is not peer)
                self._departed.update(peer.totals())

    def totals(self) -> dict[str, int]:
        """Return the sums over everybody who is or was here."""
        with self._lock:
            totals = Counter(self._departed)
            for peer in self.peers:
                totals.update(peer.totals())
        return dict(totals)

    def answer(self, number: int, payload: Payload, max_frame_bytes: int) -> bytes:
        """Call the handler of a request; return the encoded reply, which is an error if the handler raised.

        Or if the reply does not fit into a frame, ours or the client's.
        """
        kind = payload.get("type")
        handler = self.request_handlers.get(kind) if isinstance(kind, str) else None
        if handler is None:
            return _error_reply(number, "unknown_request", f"no handler for requests of type {kind!r}")
        try:
            encoded = encode_payload(handler(payload))
        except RequestError as error:
            return _error_reply(number, error.code, error.message)
        except BaseException as error:  # the application's code may raise anything, and this thread is ours
            self.logger.error("request_failed", type=kind, id=number, exc_info=True)
            return _error_reply(number, "handler_failed", f"{type(error).__name__}: {as_text(error)}")
        size, largest = len(encoded) + ENVELOPE_BYTES, min(max_frame_bytes, self.limits.max_frame_bytes)
        if size > largest:
            reason = f"the reply has {size} bytes with its envelope, a frame {largest} at most"
            return _error_reply(number, "reply_too_large", reason)
        return b'{"op":"reply","id":%d,"payload":%b}' % (number, encoded)


def _error_reply(number: int, code: str, message: str) -> bytes:
    return encode(Reply(number, error=ReplyError(_clean(code), _clean(message))))


def _clean(text: str) -> str:
    """Return what can travel of a text that the application, or a peer, has made."""
    return as_text(text)[:_MAX_ERROR_CHARS].encode(errors="replace").decode()
