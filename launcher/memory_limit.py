"""When a child has become too large: the rule behind --max-rss.

Owns how often that may lead to a restart. Must not know processes or how one is restarted. Pure: figures and the time
come in, a verdict goes out. Used by the sampler's thread.
"""

from __future__ import annotations

import msgspec

FIRST_PAUSE_S = 60.0
LONGEST_PAUSE_S = 3600.0
_FORGIVEN_AFTER_S = 600.0
_SOON_S = 60.0


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What to do about a child that is over the limit. `wait_s`: until a restart is allowed again."""

    restart: bool
    wait_s: float
    reason: str


class _Record(msgspec.Struct):
    """What is remembered of one child."""

    pid: int = 0
    seen_s: float = 0.0
    over_s: float = 0.0
    samples_over: int = 0
    was_told: bool = False
    restarted_s: float | None = None
    pause_s: float = FIRST_PAUSE_S


class MemoryLimit:
    """Judges samples. Two in a row have to be over the limit: a moment's peak is no leak."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self._records: dict[str, _Record] = {}

    def judge(self, child: str, pid: int, rss_bytes: int, now: float) -> Verdict | None:
        """Return what a sample leads to, None for nothing new. Each process is restarted, or complained of, once."""
        record = self._records.setdefault(child, _Record())
        if record.pid != pid:
            record.pid, record.seen_s, record.samples_over, record.was_told = pid, now, 0, False
        if rss_bytes <= self.limit_bytes:
            record.samples_over = 0
            return None
        if record.samples_over == 0:
            record.over_s = now
        record.samples_over += 1
        if record.samples_over < 2:
            return None
        return self._verdict(record, now)

    def _verdict(self, record: _Record, now: float) -> Verdict | None:
        reason = (
            "it has grown beyond --max-rss"
            if record.over_s - record.seen_s >= _SOON_S
            else "it is larger than --max-rss soon after its start: raise the limit, or it is restarted again and again"
        )
        wait_s = 0.0 if record.restarted_s is None else max(0.0, record.restarted_s + record.pause_s - now)
        if wait_s > 0:
            if record.was_told:
                return None
            record.was_told = True
            return Verdict(restart=False, wait_s=wait_s, reason=reason)
        is_again = record.restarted_s is not None and now - record.restarted_s < record.pause_s + _FORGIVEN_AFTER_S
        record.pause_s = min(LONGEST_PAUSE_S, record.pause_s * 2) if is_again else FIRST_PAUSE_S
        record.restarted_s = now
        record.was_told = True  # it may take its time to stop
        return Verdict(restart=True, wait_s=record.pause_s, reason=reason)
