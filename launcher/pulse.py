"""When a child last said that it is alive: one number, in memory that the child and the launcher share.

Owns that memory. A beat wakes nobody and can never find a pipe full; the launcher looks when it wants to know. The time
is CLOCK_MONOTONIC, which is the same in all processes. Any thread.
"""

from __future__ import annotations

import os
import struct

from launcher.handover import InheritedFd

_time = struct.Struct("d")


class Pulse:
    """Written by the child, read by the launcher; it travels through the spawn's pickle."""

    def __init__(self) -> None:
        self._memory = InheritedFd(os.memfd_create("axon-pulse"))

    def beat(self, now: float) -> None:
        """Say that the child is alive."""
        os.pwrite(self._memory.fileno(), _time.pack(now), 0)

    def last_s(self) -> float | None:
        """Return when the child last beat; None before it has ever done so, and after `close`."""
        if self._memory.fileno() < 0:
            return None
        written = os.pread(self._memory.fileno(), _time.size, 0)
        return float(_time.unpack(written)[0]) if len(written) == _time.size else None

    def close(self) -> None:
        """Let go of it; closing twice does nothing."""
        self._memory.close()
