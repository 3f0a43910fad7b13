"""A thread that writes log lines somewhere slow, behind a queue of bounded size.

Owns the queue and the thread; knows nothing of what a line says. `put` never waits: whoever supervises must not
stand still because a terminal is paused or a disk is full. What does not fit is counted, and the count is written.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable

import msgspec

_LINE_OVERHEAD_BYTES = 64  # a bytes object and its place in the queue
_BATCH_BYTES = 256 << 10


class LogTarget(msgspec.Struct, frozen=True, kw_only=True):
    """Where a LogWriter's lines go, and what it asks of its owner."""

    name: str
    write: Callable[[list[bytes]], None]
    """Write lines without newlines; OSError when that fails."""
    count_line: Callable[[str, int], bytes]
    """Turn the target's name and a number of dropped lines into the line that says so."""
    on_failure: Callable[[str, OSError], bool]
    """Told of an OSError, on the writer's thread; True to go on, False when nobody will ever read this."""
    max_bytes: int


class LogWriter:
    """Passes lines to its target in batches, on a thread of its own."""

    def __init__(self, target: LogTarget) -> None:
        self._target = target
        self._lines: deque[bytes] = deque()
        self._queued_bytes = 0
        self._dropped = 0
        self._is_closing = False
        self._is_broken = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name=f"log-{target.name}", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def put(self, line: bytes) -> None:
        """Queue one line without its newline, or count it as dropped."""
        size_bytes = len(line) + _LINE_OVERHEAD_BYTES
        with self._changed:
            if self._is_broken:
                return
            if self._queued_bytes + size_bytes > self._target.max_bytes:
                self._dropped += 1
                return
            self._lines.append(line)
            self._queued_bytes += size_bytes
            self._changed.notify()

    def close(self, timeout_s: float) -> bool:
        """Write what is queued and end the thread; False if it did not get done in time."""
        with self._changed:
            self._is_closing = True
            self._changed.notify()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while batch := self._take():
            try:
                self._target.write(batch)
            except OSError as error:
                if not self._survives(error, len(batch)):
                    return

    def _take(self) -> list[bytes]:
        """Wait for lines and return some; none when closed and empty."""
        batch: list[bytes] = []
        batch_bytes = 0
        with self._changed:
            while not self._lines and not self._is_closing:
                self._changed.wait()
            while self._lines and batch_bytes < _BATCH_BYTES:
                line = self._lines.popleft()
                batch.append(line)
                batch_bytes += len(line)
                self._queued_bytes -= len(line) + _LINE_OVERHEAD_BYTES
            if self._dropped and batch and not self._lines:
                batch.append(self._target.count_line(self._target.name, self._dropped))
                self._dropped = 0
        return batch

    def _survives(self, error: OSError, lost: int) -> bool:
        goes_on = self._target.on_failure(self._target.name, error)
        with self._changed:
            self._dropped += lost
            if not goes_on:
                self._is_broken = True
                self._lines.clear()
        return goes_on


def close_all(writers: Iterable[LogWriter], timeout_s: float) -> None:
    """Close all writers within one deadline."""
    deadline_s = time.monotonic() + timeout_s
    for writer in writers:
        writer.close(max(0.0, deadline_s - time.monotonic()))
