"""Figures for Prometheus: what is counted while the server works.

Owns the names of the figures, in a registry of its own. Counting is a dictionary look-up and a lock held for an
addition; any thread. What is only looked at when somebody asks is in metric_sources.
"""

from __future__ import annotations

import platform
import sqlite3
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Histogram, Info, ProcessCollector

from ipc.version import VERSION

CREATED, DUPLICATE, REJECTED = "created", "duplicate", "rejected"
NO_ROUTE = "(none)"
# A client may make up any method, and each label value is a row for ever.
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OTHER_METHOD = "(other)"
REQUEST_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
ACK_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60)
MAX_UNACKED = 4096


class _Of(NamedTuple):
    """The figures of one kind of request."""

    answered: Counter
    duration_s: Histogram


class Metrics:
    """The figures of one server."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.registry = registry = CollectorRegistry()
        self._clock = clock
        ProcessCollector(registry=registry)
        build = {"version": VERSION, "python": platform.python_version(), "sqlite": sqlite3.sqlite_version}
        Info("axon_build", "Which Axon this is, and on what it runs.", registry=registry).info(build)
        self._requests = Counter(
            "axon_http_requests", "Requests answered.", ("method", "route", "status"), registry=registry
        )
        self._durations = Histogram(
            "axon_http_request_duration_seconds",
            "From a request's arrival as a whole to its answer.",
            ("method", "route"),
            buckets=REQUEST_BUCKETS_S,
            registry=registry,
        )
        self._refused = Counter(
            "axon_http_refused", "Requests refused before they had a route: malformed.", ("status",), registry=registry
        )
        marks = Counter(
            "axon_marks", "Marks that were asked for, by what became of them.", ("result",), registry=registry
        )
        self._marks = {result: marks.labels(result) for result in (CREATED, DUPLICATE, REJECTED)}
        self._acks = Histogram(
            "axon_mark_to_acked_seconds",
            "From the commit of a mark to a client's word that it has handled it; each client counts.",
            buckets=ACK_BUCKETS_S,
            registry=registry,
        )
        self._of: dict[tuple[str, str | None, int], _Of] = {}
        self._committed_s: OrderedDict[int, float] = OrderedDict()

    def request(self, method: str, route: str | None, status: int, duration_s: float) -> None:
        """Count a request that was answered."""
        found = self._of.get((method, route, status)) or self._find(method, route, status)
        found.answered.inc()
        found.duration_s.observe(duration_s)

    def refused(self, status: int) -> None:
        """Count a request that never reached the application."""
        self._refused.labels(status).inc()

    def marks_not_stored(self, result: str, count: int = 1) -> None:
        """Count marks that were asked for in vain: DUPLICATE or REJECTED."""
        if count:
            self._marks[result].inc(count)

    def mark_committed(self, seq: int) -> None:
        """Count a new mark, whoever asked for it: the message `seq` announces it. Called in the order of seqs."""
        self._marks[CREATED].inc()
        self._committed_s[seq] = self._clock()
        if len(self._committed_s) > MAX_UNACKED:
            self._committed_s.popitem(last=False)

    def acked(self, previous_seq: int, seq: int) -> None:
        """Note that a client has handled the messages after `previous_seq` up to `seq`."""
        committed_s, now_s = self._committed_s, self._clock()
        for each in range(max(previous_seq, seq - MAX_UNACKED) + 1, seq + 1):
            since_s = committed_s.get(each)
            if since_s is not None:
                self._acks.observe(now_s - since_s)

    def _find(self, method: str, route: str | None, status: int) -> _Of:
        shown = method if method in METHODS else OTHER_METHOD
        name = route or NO_ROUTE
        found = _Of(self._requests.labels(shown, name, status), self._durations.labels(shown, name))
        if shown == method:
            self._of[method, route, status] = found
        return found
