"""When a cumulative acknowledgement goes out: at once after a quiet moment, else at most every few milliseconds. Pure.

Prompt acks keep lag figures true; rare ones keep them from costing a system call a message.
"""

INTERVAL_S = 0.005


class AckPacer:
    """Holds how far one side has handled what the other sent. Times are monotonic seconds, given by the caller."""

    def __init__(self, handled: int = 0) -> None:
        self._handled = handled
        self._acked = handled
        self._acked_at = float("-inf")

    def note(self, number: int) -> None:
        """Everything up to `number` was handled."""
        self._handled = number

    def settle(self, number: int) -> None:
        """Everything up to `number` was handled, and the other side knows."""
        self._handled = self._acked = number

    def wait_s(self, now: float) -> float | None:
        """Return how long the next ack may wait for more to come, or None when nothing waits to be acknowledged."""
        if self._handled == self._acked:
            return None
        return max(0.0, self._acked_at + INTERVAL_S - now)

    def take(self, now: float) -> int | None:
        """Return the number to acknowledge now, if an ack is due."""
        if self.wait_s(now) != 0.0:
            return None
        self._acked = self._handled
        self._acked_at = now
        return self._acked
