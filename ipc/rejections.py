"""Counting connections that were turned away, and saying so without letting them flood the log."""

import threading
import time
from collections import Counter
from typing import Any

_QUIET_S = 1.0


class Rejections:
    """Counts by kind, and logs `peer_rejected` at most once per kind and second, with how many there were since."""

    def __init__(self, logger: Any) -> None:
        self._log = logger
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._logged_counts: Counter[str] = Counter()
        self._quiet_until: dict[str, float] = {}

    def note(self, kind: str, reason: str) -> None:
        """Count one rejection of this kind."""
        with self._lock:
            self._counts[kind] += 1
            now = time.monotonic()
            if now < self._quiet_until.get(kind, 0.0):
                return
            self._quiet_until[kind] = now + _QUIET_S
            count = self._counts[kind] - self._logged_counts[kind]
            self._logged_counts[kind] = self._counts[kind]
        self._log.warning("peer_rejected", kind=kind, reason=reason, count=count)

    def by_kind(self) -> dict[str, int]:
        """Return how many there were of each kind."""
        with self._lock:
            return dict(self._counts)
