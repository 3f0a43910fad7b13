"""The latest lines of the log in memory, numbered, for whoever follows it.

Owns the lines and their numbers, bounded by count and bytes. Must not know who follows. Any thread.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice

import msgspec

MAX_LINES = 2000
_MAX_BYTES = 1 << 20


class Slice(msgspec.Struct, frozen=True):
    """Some lines in a row; `last` is the number of the last one, `missed` how many before them are gone."""

    last: int
    lines: list[bytes]
    missed: int


class LogRing:
    """Lines 1, 2, 3, ...; old ones make room for new ones."""

    def __init__(self, max_lines: int = MAX_LINES, max_bytes: int = _MAX_BYTES) -> None:
        self._max_lines = max_lines
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._lines: deque[bytes] = deque()
        self._bytes = 0
        self._newest = 0
        self._on_news: Callable[[], None] | None = None

    def put(self, lines: Sequence[bytes]) -> None:
        """Append lines."""
        with self._lock:
            self._lines.extend(lines)
            self._newest += len(lines)
            self._bytes += sum(map(len, lines))
            while len(self._lines) > self._max_lines or self._bytes > self._max_bytes:
                self._bytes -= len(self._lines.popleft())
            on_news = self._on_news
        if on_news is not None:
            on_news()

    def call_on_news(self, on_news: Callable[[], None] | None) -> None:
        """Have `on_news` called, which must not wait, after each `put`; None for nobody."""
        self._on_news = on_news

    @property
    def newest(self) -> int:
        """The number of the newest line, 0 before there was one."""
        return self._newest

    @property
    def oldest(self) -> int:
        """The number of the oldest line that can be read; `newest + 1` when there is none."""
        with self._lock:
            return self._newest - len(self._lines) + 1

    def read(self, after: int, max_bytes: int) -> Slice:
        """Return the lines after number `after`, at least one if there is one, about `max_bytes` of them at most."""
        with self._lock:
            oldest = self._newest - len(self._lines) + 1
            first = max(after + 1, oldest)
            lines: list[bytes] = []
            taken_bytes = 0
            for line in islice(self._lines, first - oldest, None):
                if lines and taken_bytes + len(line) > max_bytes:
                    break
                lines.append(line)
                taken_bytes += len(line)
        return Slice(first - 1 + len(lines), lines, first - 1 - after)
