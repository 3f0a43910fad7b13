"""A thread that writes log lines somewhere slow, behind a queue of bounded size.

Owns the queue and the thread; knows nothing of what a line says. `put` never waits: whoever supervises must not
stand still because a terminal is paused or a disk is full. What does not fit is counted, and the count is written
where the lines would have been. Who brings many lines may `give_way` a moment before, so that few have to be dropped.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence

import msgspec

_LINE_OVERHEAD_BYTES = 64  # a bytes object and its place in the queue
_BATCH_BYTES = 256 << 10
RESERVE_BYTES = 512 << 10
"""Room beyond a full queue for the launcher's own events; half of it also for what a process says last."""


class LogTarget(msgspec.Struct, frozen=True, kw_only=True):
    """Where a LogWriter's lines go, and what it asks of its owner."""

    name: str
    write: Callable[[list[bytes]], None]
    """Write lines without newlines; OSError when that fails, and then none of them is there (see PartlyWritten)."""
    count_line: Callable[[str, int], bytes]
    """Turn the target's name and a number of dropped lines into the line that says so."""
    on_failure: Callable[[str, OSError], bool]
    """Told of an OSError, on the writer's thread; True to go on, False when nobody will ever read this."""
    max_bytes: int
    give_way_s: float
    """How long to wait at most, each time, before more is put into a queue that is half full."""


class PartlyWritten(OSError):
    """The first `written` lines of a batch are there, the others are not."""

    def __init__(self, cause: OSError, written: int) -> None:
        super().__init__(cause.errno, cause.strerror)
        self.written = written


class LogWriter:
    """Passes lines to its target in batches, on a thread of its own."""

    def __init__(self, target: LogTarget) -> None:
        self._target = target
        self._lines: deque[bytes | int] = deque()  # a number stands for so many lines that had no room
        self._queued_bytes = 0
        self._dropped = 0
        self._is_full = False
        self._is_closing = False
        self._is_broken = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name=f"log-{target.name}", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def put(self, lines: Sequence[bytes], *, reserve_bytes: int = 0) -> None:
        """Queue lines without their newlines, or count them as dropped; these may use so much of the reserve."""
        with self._changed:
            if self._is_broken:
                return
            self._is_full = self._is_full and self._is_half_full()
            for line in lines:
                self._put_one(line, reserve_bytes)
            self._changed.notify_all()

    def give_way(self) -> None:
        """Wait a moment for the thread to get to the second half of its queue.

        A target that is merely slower gets the time it needs. One that has let the queue fill up is not waited for.
        """
        with self._changed:
            if self._is_half_full() and not self._is_full and not self._is_broken:
                self._changed.wait_for(lambda: not self._is_half_full(), self._target.give_way_s)

    def close(self, timeout_s: float) -> bool:
        """Write what is queued and end the thread; False if it did not get done in time."""
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _is_half_full(self) -> bool:
        return self._queued_bytes > self._target.max_bytes // 2

    def _put_one(self, line: bytes, reserve_bytes: int) -> None:
        size_bytes = len(line) + _LINE_OVERHEAD_BYTES
        room_bytes = self._target.max_bytes - self._queued_bytes
        # Once full it stays closed until half of it is written: one gap that is said, rather than a thousand.
        self._is_full = self._is_full or size_bytes > room_bytes
        if self._is_full and not (reserve_bytes and size_bytes <= room_bytes + reserve_bytes):
            self._dropped += 1
            return
        self._tell_dropped(self._lines)
        self._lines.append(line)
        self._queued_bytes += size_bytes

    def _tell_dropped(self, lines: deque[bytes | int] | list[bytes | int]) -> None:
        if self._dropped:
            lines.append(self._dropped)
            self._dropped = 0

    def _run(self) -> None:
        while batch := self._take():
            try:
                self._target.write([self._spelt_out(entry) for entry in batch])
            except OSError as error:
                unwritten = batch[error.written :] if isinstance(error, PartlyWritten) else batch
                if not self._survives(error, sum(entry if isinstance(entry, int) else 1 for entry in unwritten)):
                    return

    def _take(self) -> list[bytes | int]:
        """Wait for lines and return some; none when closed and empty."""
        batch: list[bytes | int] = []
        batch_bytes = 0
        with self._changed:
            while not self._lines and not self._is_closing:
                self._changed.wait()
            while self._lines and batch_bytes < _BATCH_BYTES:
                entry = self._lines.popleft()
                batch.append(entry)
                if isinstance(entry, bytes):
                    batch_bytes += len(entry)
                    self._queued_bytes -= len(entry) + _LINE_OVERHEAD_BYTES
            if not self._lines:
                self._tell_dropped(batch)
            self._changed.notify_all()
        return batch

    def _spelt_out(self, entry: bytes | int) -> bytes:
        return entry if isinstance(entry, bytes) else self._target.count_line(self._target.name, entry)

    def _survives(self, error: OSError, lost: int) -> bool:
        goes_on = self._target.on_failure(self._target.name, error)
        with self._changed:
            self._dropped += lost
            if not goes_on:
                self._is_broken = True
                self._lines.clear()
            return goes_on and not (self._is_closing and not self._lines)


def close_all(writers: Iterable[LogWriter], timeout_s: float) -> None:
    """Close all writers within one deadline."""
    deadline_s = time.monotonic() + timeout_s
    for writer in writers:
        writer.close(max(0.0, deadline_s - time.monotonic()))
