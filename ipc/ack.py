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
        self.is_pending = False

    def note(self, number: int) -> None:
        """Everything up to `number` was handled."""
        self._handled = number
        self.is_pending = number != self._acked

    def settle(self, number: int) -> None:
        """Everything up to `number` was handled, and the other side knows."""
        self._handled = self._acked = number
        self.is_pending = False

    def take(self, now: float) -> int | None:
        """Return the number to acknowledge now, if an ack is due."""
        if not self.is_pending or now - self._acked_at < INTERVAL_S:
            return None
        self._acked = self._handled
        self._acked_at = now
        self.is_pending = False
        return self._acked
