"""The log of what passes: a line a message while there are few, one exact line a second when there are many.

The channel's threads only leave notes here; one thread of this module's own writes the lines, so a slow log never slows
a message. It sleeps for as long as there is nothing to write.
"""

import collections
import threading
import time
from typing import Any, NamedTuple

import msgspec

LINES_PER_S = 20

_Fields = dict[str, Any]
_decode_lines = msgspec.json.Decoder(dict[str, Any]).decode_lines
_encode = msgspec.json.Encoder().encode


class _Note(NamedTuple):
    """`what` is the encoded text of messages sent, or the decoded objects received."""

    event: str
    peer: str
    what: bytes | list[Any]


class _Totals:
    """What was passed over in this second, to be told in one line."""

    def __init__(self) -> None:
        self.sent = self.sent_bytes = self.received = self.received_bytes = 0
        self.latencies_s: list[float] = []
        self.lag = 0

    def as_fields(self) -> _Fields:
        fields: _Fields = {
            "sent": self.sent,
            "sent_bytes": self.sent_bytes,
            "received": self.received,
            "received_bytes": self.received_bytes,
            "lag": self.lag,
        }
        if self.latencies_s:
            ordered = sorted(self.latencies_s)
            fields["p50_ms"] = round(1000 * ordered[len(ordered) // 2], 3)
            fields["p99_ms"] = round(1000 * ordered[len(ordered) * 99 // 100], 3)
        return fields


class TrafficLog:
    """Takes notes from any thread; `name` is this end of the channel."""

    def __init__(self, logger: Any, name: str, *, log_payloads: bool) -> None:
        self._log = logger.bind(channel=name)
        self._name = name
        self._log_payloads = log_payloads
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._notes: collections.deque[_Note] = collections.deque()
        self._totals: _Totals | None = None
        self._budget = LINES_PER_S
        self._second_ends_at = 0.0
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def sent(self, peer: str, encoded: bytes, count: int, lag: int = 0) -> None:
        """Note a batch of `count` messages that goes out, and how many more wait behind it."""
        with self._lock:
            if not self._is_foldable(count):
                self._notes.append(_Note("message_sent", peer, encoded))
            else:
                totals = self._fold()
                totals.sent += count
                totals.sent_bytes += len(encoded)
                totals.lag = max(totals.lag, lag)

    def received(self, peer: str, objects: list[Any], size_bytes: int) -> None:
        """Note messages, requests or replies that came together."""
        if not objects:
            return
        with self._lock:
            if not self._is_foldable(len(objects)):
                self._notes.append(_Note("message_received", peer, objects))
            else:
                totals = self._fold()
                totals.received += len(objects)
                totals.received_bytes += size_bytes

    def latency(self, seconds: float) -> None:
        """Note how long a message took; only told of a second that is told as a whole."""
        totals = self._totals
        if totals is not None and len(totals.latencies_s) < 1000:
            totals.latencies_s.append(seconds)

    def stop(self) -> None:
        """Write what is left and end the thread."""
        with self._lock:
            self._stopping.set()
            thread = self._thread
        self._wake.set()
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _is_foldable(self, count: int) -> bool:
        """Take `count` lines from this second's budget; True when there are not as many left."""
        now = time.monotonic()
        if now >= self._second_ends_at:
            self._second_ends_at = now + 1.0
            self._budget = LINES_PER_S
        self._budget -= count
        self._ensure_awake()
        return self._budget < 0

    def _fold(self) -> _Totals:
        if self._totals is None:
            self._totals = _Totals()
        return self._totals

    def _ensure_awake(self) -> None:
        if self._thread is None and not self._stopping.is_set():
            self._thread = threading.Thread(target=self._write_lines, name=f"ipc-traffic-{self._name}", daemon=True)
            self._thread.start()
        if not self._wake.is_set():
            self._wake.set()

    def _write_lines(self) -> None:
        """Body of the thread: write single lines at once, a folded one when its second is over."""
        while not self._stopping.is_set():
            self._wake.wait()
            self._wake.clear()
            self._write_notes()
            if self._totals is not None:
                self._stopping.wait(max(0.0, self._second_ends_at - time.monotonic()))
                self._write_totals()
        self._write_notes()
        self._write_totals()

    def _write_notes(self) -> None:
        while self._notes:
            note = self._notes.popleft()
            objects = _decode_lines(note.what) if isinstance(note.what, bytes) else map(msgspec.to_builtins, note.what)
            for each in objects:
                self._write(note.event, peer=note.peer, **self._describe(each))

    def _write_totals(self) -> None:
        with self._lock:
            totals, self._totals = self._totals, None
        if totals is not None:
            self._write("traffic", **totals.as_fields())

    def _write(self, event: str, **fields: Any) -> None:
        try:
            self._log.info(event, **fields)
        except (OSError, ValueError):
            pass  # the log's own end is gone or closed; the channel goes on without it

    def _describe(self, message: _Fields) -> _Fields:
        payload = message.get("payload") or {}
        fields: _Fields = {"op": message["op"], "type": payload.get("type"), "size_bytes": len(_encode(message))}
        fields |= {key: message[key] for key in ("seq", "id") if key in message}
        if "error" in message:
            fields["error"] = message["error"]["code"]
        if self._log_payloads:
            fields["payload"] = payload
        return fields
