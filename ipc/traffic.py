"""The log of what passes: a line a message while there are few, one exact line a second when there are many.

The channel's threads leave notes here as long as there are few; above that they only look at `is_folding`, and the
figures come from the counters that every connection keeps anyway. One thread of this module's own writes the lines,
so a slow log never slows a message. It sleeps for as long as there is nothing to write.
"""

import collections
import logging
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import msgspec

from ipc.logs import get_logger

LINES_PER_S = 20
_WINDOW_S = 1.0
_LATENCY_SAMPLES = 1000
_MAX_ID_CHARS = 64

_Fields = dict[str, Any]
_decode_lines = msgspec.json.Decoder(dict[str, Any]).decode_lines
_encode = msgspec.json.Encoder().encode


class Totals(NamedTuple):
    """What has passed so far at this end: messages, requests and replies; all bytes after `hello`."""

    sent: int
    sent_bytes: int
    received: int
    received_bytes: int


class _Note(NamedTuple):
    """`what` is the encoded text of messages sent, or what there is to tell of the objects received."""

    event: str
    peer: str
    what: bytes | list[_Fields]


class TrafficLog:
    """Takes notes from any thread; `name` is this end of the channel, `totals` tells what its connections counted.

    `lag` tells how many messages wait to be sent to whoever is furthest behind.
    `is_folding`: there is too much to note each message. Whoever counts a message looks at it and does no more.
    """

    def __init__(
        self,
        logger: Any,
        name: str,
        totals: Callable[[], Totals],
        *,
        lag: Callable[[], int],
        log_payloads: bool,
        level: str = "info",
    ) -> None:
        self._is_muted = not _is_shown(logger, level)
        self.is_folding = self._is_muted  # for good: waking a thread for a line that nobody sees would be waste
        self.latencies_s: collections.deque[float] = collections.deque(maxlen=_LATENCY_SAMPLES)
        self._log = logger.bind(channel=name)
        self._name = name
        self._totals = totals
        self._lag = lag
        self._log_payloads = log_payloads
        self._level = level
        self._lock = threading.Lock()
        self._wake = threading.Semaphore(0)
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._notes: collections.deque[_Note] = collections.deque()
        self._noted = [0, 0]  # sent, received
        self._folded = [0, 0]
        self._base = self._at_window_start = totals()  # the connections count on over a stop and a start
        self._budget = LINES_PER_S
        self._window_ends_at = 0.0

    def sent(self, peer: str, encoded: bytes, count: int) -> None:
        """Note a batch of `count` messages that goes out."""
        self._note("message_sent", peer, encoded, count)

    def received(self, peer: str, objects: list[Any]) -> None:
        """Note messages, requests or replies that came together, before a handler may change them."""
        self._note("message_received", peer, objects, len(objects))

    def stop(self, patience_s: float = 0.3) -> None:
        """Write what is left and end the thread; one that a log holds up which nobody reads is left behind."""
        with self._lock:
            self._stopping.set()
            thread = self._thread
        self._wake.release()
        if thread is not None and thread is not threading.current_thread():
            thread.join(patience_s)

    def _note(self, event: str, peer: str, what: bytes | list[Any], count: int) -> None:
        direction = 0 if isinstance(what, bytes) else 1
        with self._lock:
            if self._stopping.is_set() or self._is_muted:
                return
            if self._has_told(count, direction):
                return  # the second that was folded has just ended, with this in it
            now = time.monotonic()
            if now >= self._window_ends_at:
                self._window_ends_at = now + _WINDOW_S
                self._budget = LINES_PER_S
            self._budget -= count
            if self._budget >= 0:
                self._noted[direction] += count
                told = what if isinstance(what, bytes) else self._describe_all(map(msgspec.to_builtins, what))
                self._notes.append(_Note(event, peer, told))
            elif not self.is_folding:
                self._at_window_start = self._totals()
                self.is_folding = True
            if self._thread is None:
                self._start_thread()
        self._wake.release()

    def _start_thread(self) -> None:
        thread = threading.Thread(target=self._write, name=f"ipc-traffic-{self._name}", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # no more threads
            self.is_folding = False  # only the thread could end it; the next message tries again
        else:
            self._thread = thread

    def _has_told(self, count: int, direction: int) -> bool:
        """Tell whether the lines so far leave less than `count` messages to tell of. The lock is held."""
        if not any(self._folded):
            return False
        totals = self._totals()
        counted = totals.received - self._base.received if direction else totals.sent - self._base.sent
        return counted - self._noted[direction] - self._folded[direction] < count

    # -- on its own thread -----------------------------------------------------------------------------------------

    def _write(self) -> None:
        """Body of the thread: write single lines at once, a folded one when its second is over."""
        is_settled = True
        while not self._stopping.is_set():
            self._wake.acquire(timeout=None if is_settled else _WINDOW_S)
            try:
                self._write_notes()
                if self.is_folding:
                    is_settled = False
                    self._stopping.wait(max(0.0, self._window_ends_at - time.monotonic()))
                    self._end_window()
                elif not is_settled:
                    self._write_folded()  # what was counted at the very moment when folding ended
                    is_settled = True
            except Exception:  # noqa: BLE001 - this thread's top frame: one line less, and the next all the same
                get_logger().error("traffic_line_failed", channel=self._name, exc_info=True)
        self._write_notes()
        self._write_folded()

    def _end_window(self) -> None:
        """Tell of the second that is over. The next one is folded too unless this one was quiet enough."""
        with self._lock:
            self._window_ends_at = time.monotonic() + _WINDOW_S
            self._budget = LINES_PER_S
        self.is_folding = self._write_folded() > LINES_PER_S

    def _write_notes(self) -> None:
        while self._notes:
            event, peer, what = self._notes.popleft()
            told = self._describe_all(_decode_lines(what)) if isinstance(what, bytes) else what
            for fields in told:
                self._emit(event, peer=peer, **fields)

    def _write_folded(self) -> int:
        """Write one line for all messages that no line has told of yet; return how many."""
        with self._lock:
            totals, before = self._totals(), self._at_window_start
            sent = max(0, totals.sent - self._base.sent - self._noted[0] - self._folded[0])
            received = max(0, totals.received - self._base.received - self._noted[1] - self._folded[1])
            if not sent and not received:
                return 0
            self._folded = [self._folded[0] + sent, self._folded[1] + received]
            self._at_window_start = totals
        fields: _Fields = {
            "sent": sent,
            "sent_bytes": totals.sent_bytes - before.sent_bytes,
            "received": received,
            "received_bytes": totals.received_bytes - before.received_bytes,
            "lag": self._lag(),
        }
        self._emit("traffic", **fields, **self._latency())
        return sent + received

    def _latency(self) -> _Fields:
        latencies_s = sorted(self.latencies_s)
        self.latencies_s.clear()
        if not latencies_s:
            return {}
        middle, late = latencies_s[len(latencies_s) // 2], latencies_s[len(latencies_s) * 99 // 100]
        return {"p50_ms": round(1000 * middle, 3), "p99_ms": round(1000 * late, 3)}

    def _emit(self, event: str, **fields: Any) -> None:
        try:
            getattr(self._log, self._level)(event, **fields)
        except Exception:  # noqa: BLE001, S110 - the log itself is what failed; its next line may be fine
            pass

    def _describe_all(self, messages: Iterable[_Fields]) -> list[_Fields]:
        try:
            return [self._describe(message) for message in messages]
        except Exception as error:  # noqa: BLE001 - a payload is whatever a peer has sent; its message is not for the log
            return [{"reason": f"not to be described: {type(error).__name__}"}]

    def _describe(self, message: _Fields) -> _Fields:
        payload = message.get("payload") or {}
        kind = payload.get("type")  # as a rule a word; of what is there instead no more is told than of a payload
        fields: _Fields = {
            "op": message["op"],
            "type": kind[:_MAX_ID_CHARS] if isinstance(kind, str) else None,
            "size_bytes": len(_encode(message)),
        }
        fields |= {key: message[key] for key in ("seq", "id") if key in message}
        if _is_id(request_id := payload.get("requestId")):
            fields["request_id"] = request_id
        if "error" in message:
            fields["error"] = message["error"]["code"]
        if self._log_payloads:
            fields["payload"] = payload
        return fields


def _is_id(value: object) -> bool:
    """Whether `value` looks like an id made by a program: short, and without a blank that a text would have."""
    if not isinstance(value, str) or not 0 < len(value) <= _MAX_ID_CHARS:
        return False
    return value.isascii() and value.isprintable() and " " not in value


def _is_shown(logger: Any, level: str) -> bool:
    try:
        return bool(logger.is_enabled_for(logging.getLevelNamesMapping()[level.upper()]))
    except AttributeError:
        return True  # a logger that does not filter
