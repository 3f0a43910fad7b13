"""One time for several waits that come one after the other."""

import time


class Patience:
    """What is left of `total_s`, which runs from here on."""

    def __init__(self, total_s: float) -> None:
        self._ends_at = time.monotonic() + total_s

    def at_most(self, wait_s: float) -> float:
        """Return `wait_s`, or what is left where that is less."""
        return max(0.0, min(wait_s, self._ends_at - time.monotonic()))
