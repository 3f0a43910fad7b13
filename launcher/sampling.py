"""What the children cost: CPU, memory, threads and descriptors of each child with all its descendants.

Owns one thread, "sampler", which reads /proc every few seconds, and the last samples. Must not know restarts or who is
told. `watch` is called by the supervisor's thread, the rest by any thread; nobody waits for a reading that hangs.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec
import structlog

from launcher.log_events import utc_now
from launcher.process_trees import Reading, read_trees, uss_of
from launcher.status import Snapshot

_log = structlog.get_logger()
INTERVAL_S = 5.0
_USS_EVERY = 6  # the kernel walks every page for it: some 10 ms for each GB
_KEPT = 12
_FRESH_S = 1.0  # over less than that, cpu_percent says little
_FRESH_ENOUGH_S = 0.1  # for a process that has no figures yet
_BUSY_S = 0.02
_JOIN_S = 0.5
_FIGURES = ("cpu_percent", "rss_bytes", "uss_bytes", "threads", "fds", "processes")


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One child's tree at one moment. `cpu_percent` is since the sample before, 100 is one core."""

    timestamp: str
    child: str
    child_pid: int
    cpu_percent: float
    rss_bytes: int
    uss_bytes: int | None
    threads: int
    fds: int
    processes: int


Report = Callable[[list[Sample]], None]


class Sampler:
    """Samples the children of the last snapshot that it was given."""

    def __init__(self, interval_s: float | None = None) -> None:
        self._interval_s = INTERVAL_S if interval_s is None else interval_s
        self._lock = threading.Lock()
        self._pids: dict[str, int] = {}
        self._readings: dict[str, Reading] = {}
        self._uss_bytes: dict[int, int | None] = {}
        self._latest: dict[str, Sample] = {}
        self._latest_s = float("-inf")
        self._recent: dict[str, deque[Sample]] = {}
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, report: Report) -> None:
        """Begin to sample; `report` is called with each round, on this sampler's thread."""
        self._thread = threading.Thread(target=self._run, args=(report,), name="sampler", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread; one that /proc holds up is left behind."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(_JOIN_S)

    def watch(self, snapshot: Snapshot) -> None:
        """Sample the processes of this snapshot from now on."""
        self._pids = {child.name: child.pid for child in snapshot.children if child.pid is not None}

    def latest(self, child: str, pid: int | None) -> dict[str, Any]:
        """Return the newest figures of a child's process, None for each where there are none."""
        sample = self._latest.get(child)
        if sample is None or sample.child_pid != pid:
            return dict.fromkeys(_FIGURES)
        return {figure: getattr(sample, figure) for figure in _FIGURES}

    def refresh(self) -> None:
        """Take new figures for `latest`, unless they are new or the thread is just taking them."""
        known = {sample.child: sample.child_pid for sample in self._latest.values()}
        if time.monotonic() - self._latest_s < (_FRESH_S if known == self._pids else _FRESH_ENOUGH_S):
            return
        if self._lock.acquire(timeout=_BUSY_S):
            try:
                self._take()
            finally:
                self._lock.release()

    def recent(self, child: str) -> list[dict[str, Any]]:
        """Return the last samples of a child, oldest first; those of its dead process are among them."""
        samples = list(self._recent.get(child, ()))  # at once: the sampler goes on
        return [msgspec.structs.asdict(sample) for sample in samples]

    def _run(self, report: Report) -> None:
        count = 0
        while not self._stopping.wait(self._interval_s):
            try:
                if samples := self._sample(with_uss=count % _USS_EVERY == 0):
                    report(samples)
            except Exception:  # noqa: BLE001 - this thread's top frame: the next sample may succeed
                _log.exception("sampling_failed")
            count += 1

    def _sample(self, *, with_uss: bool) -> list[Sample]:
        with self._lock:
            samples, readings = self._take(), self._readings
        if with_uss:
            # Outside the lock: a process that is paging can hold this up, and nobody else.
            self._uss_bytes = {reading.root.pid: uss_of(reading) for reading in readings.values()}
            samples = [msgspec.structs.replace(each, uss_bytes=self._uss_bytes[each.child_pid]) for each in samples]
        for sample in samples:
            self._recent.setdefault(sample.child, deque(maxlen=_KEPT)).append(sample)
        return samples

    def _take(self) -> list[Sample]:
        """Read every tree. The lock is held."""
        before, self._readings = self._readings, read_trees(self._pids, self._readings)
        samples = [self._sampled(name, reading, before.get(name)) for name, reading in self._readings.items()]
        self._latest = {sample.child: sample for sample in samples}
        self._latest_s = time.monotonic()
        return samples

    def _sampled(self, name: str, reading: Reading, before: Reading | None) -> Sample:
        return Sample(
            timestamp=utc_now(),
            child=name,
            child_pid=reading.root.pid,
            cpu_percent=reading.cpu_percent_since(before),
            rss_bytes=sum(each.rss_bytes for each in reading.processes.values()),
            uss_bytes=self._uss_bytes.get(reading.root.pid),
            threads=sum(each.threads for each in reading.processes.values()),
            fds=sum(each.fds for each in reading.processes.values()),
            processes=len(reading.processes),
        )
