"""Counts lines that were not kept, and sees to it that the log says so.

Owns the counts between two sayings. `add` and `say` may be called from any thread. While there is something to say a
timer's thread waits to say it, so that a child which falls silent after a flood is accounted for as well.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from launcher.log_events import Origin

_SAY_WITHIN_S = 1.0


class DroppedLines:
    """Lines by the process that wrote them; `tell(origin, count)` says it."""

    def __init__(self, tell: Callable[[Origin, int], None], within_s: float = _SAY_WITHIN_S) -> None:
        self._tell = tell
        self._within_s = within_s
        self._lock = threading.Lock()
        self._counts: dict[Origin, int] = {}
        self._is_timed = False

    def add(self, origin: Origin, count: int) -> None:
        """Count lines of a process; they are said soon."""
        if count <= 0:
            return
        with self._lock:
            self._counts[origin] = self._counts.get(origin, 0) + count
            is_timed, self._is_timed = self._is_timed, True
        if not is_timed:
            timer = threading.Timer(self._within_s, self._time_out)
            timer.daemon = True
            timer.start()

    def say(self) -> None:
        """Say now what there is to say."""
        with self._lock:
            counts, self._counts = self._counts, {}
        for origin, count in counts.items():
            self._tell(origin, count)

    def _time_out(self) -> None:
        with self._lock:
            self._is_timed = False
        self.say()
