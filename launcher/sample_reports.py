"""Who is told of a sample, and what follows from it: the log, the control plane, and --max-rss.

Owns the words. Called on the sampler's thread; a restart is a command to the supervisor like an operator's.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import msgspec
import structlog

from launcher.control import Command, RestartChildren
from launcher.memory_limit import MemoryLimit
from launcher.sampling import Sample

_log = structlog.get_logger()


class SampleReports:
    """Tells of each sample, and restarts a child that has become too large. `limit` None: none is too large."""

    def __init__(
        self,
        tell: Callable[[dict[str, Any]], None],
        post: Callable[[Command], None],
        limit: MemoryLimit | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tell = tell
        self._post = post
        self._limit = limit
        self._clock = clock

    def __call__(self, samples: list[Sample]) -> None:
        """Report one round of samples."""
        for sample in samples:
            figures = {key: value for key, value in msgspec.structs.asdict(sample).items() if key != "timestamp"}
            _log.debug("process_sampled", **figures)
            self._tell({"type": "process_sampled", **figures})
            if self._limit is not None:
                self._judge(sample, self._limit)

    def _judge(self, sample: Sample, limit: MemoryLimit) -> None:
        verdict = limit.judge(sample.child, sample.child_pid, sample.rss_bytes, self._clock())
        if verdict is None:
            return
        _log.warning(
            "max_rss_exceeded",
            child=sample.child,
            child_pid=sample.child_pid,
            rss_bytes=sample.rss_bytes,
            max_rss_bytes=limit.limit_bytes,
            uss_bytes=sample.uss_bytes,
            restart=verdict.restart,
            wait_s=round(verdict.wait_s),
            reason=verdict.reason,
        )
        if verdict.restart:
            self._post(RestartChildren((sample.child,)))
