"""Fault points: where a test may kill this process between two instructions that matter. Any thread.

Off unless the environment says `AXON_FAULT=<point>:<signal>:<nth>` when this module is imported, such as
`after_commit:SIGKILL:3`: the third time that the point is reached, the process gets the signal. The points are
`before_commit` (written, not durable), `after_commit` (durable, nobody knows) and `after_announce` (the clients may
know, the poster does not).
"""

from __future__ import annotations

import os
import signal
import threading

VARIABLE = "AXON_FAULT"
POINTS = ("before_commit", "after_commit", "after_announce")


class Fault:
    """Counts how often its point was reached, and strikes once."""

    def __init__(self, text: str) -> None:
        """Raises ValueError for what is not `<point>:<signal>:<nth>`."""
        point, _, rest = text.partition(":")
        name, _, nth = rest.partition(":")
        if point not in POINTS or name not in signal.Signals.__members__ or not nth.isdecimal():
            raise ValueError(f"{VARIABLE}={text}: must be <{'|'.join(POINTS)}>:<signal>:<nth>")
        self.point = point
        self._signal = signal.Signals[name]
        self._remaining = int(nth)
        self._lock = threading.Lock()

    def reach(self) -> None:
        with self._lock:
            self._remaining -= 1
            if self._remaining == 0:
                os.kill(os.getpid(), self._signal)


_fault = Fault(os.environ[VARIABLE]) if VARIABLE in os.environ else None


def reach(point: str) -> None:
    """Say that `point` is reached; almost always nothing happens."""
    if _fault is not None and _fault.point == point:
        _fault.reach()
