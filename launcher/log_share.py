"""How much of the log is a child's before its lines are counted instead of kept. Pure: time is an argument.

A share is large, so that a busy minute passes whole; but a child that prints in an endless loop may neither occupy
the launcher for good nor push everything else out of the log file. Stray output and events have a share each: a
library that babbles does not silence the child itself.
"""

from __future__ import annotations

from launcher.last_words import latest
from launcher.log_events import EVENT_START

BURST_BYTES = 96 << 20
"""What a child may write at once: two thirds of what the rotating file keeps."""

STEADY_BYTES_PER_S = 1 << 20
_LATE_EVENTS_BYTES = 16 << 20
_MERGED_BYTES = 240  # what a line gains by becoming an event


class Bucket:
    """Holds so many bytes, and is filled again at a steady rate."""

    def __init__(self, capacity_bytes: int, bytes_per_s: float) -> None:
        self._capacity_bytes = capacity_bytes
        self._bytes_per_s = bytes_per_s
        self._level_bytes = float(capacity_bytes)
        self._seen_s = 0.0

    def takes(self, lines: list[bytes], now: float) -> bool:
        """Whether the lines fit as they will be in the log; if so, their room is used up."""
        size_bytes = sum(map(len, lines)) + _MERGED_BYTES * len(lines)
        gained_bytes = max(0.0, now - self._seen_s) * self._bytes_per_s
        self._level_bytes = min(self._capacity_bytes, self._level_bytes + gained_bytes)
        self._seen_s = now
        if size_bytes > self._level_bytes:
            return False
        self._level_bytes -= size_bytes
        return True


class Share:
    """One child's share."""

    def __init__(self) -> None:
        self._lines = Bucket(BURST_BYTES, STEADY_BYTES_PER_S)
        self._late_events = Bucket(_LATE_EVENTS_BYTES, STEADY_BYTES_PER_S / 4)

    def admitted(self, lines: list[bytes], now: float, *, are_last: bool) -> list[bytes]:
        """Return the lines to keep: all of them, or the events among them, or none; of the last ones always some."""
        if self._lines.takes(lines, now):
            return lines
        if are_last:
            return latest(lines)
        events = [line for line in lines if line.startswith(EVENT_START)]
        return events if self._late_events.takes(events, now) else []
