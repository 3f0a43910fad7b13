"""Figures for Prometheus that are looked at when they are asked for: clients, the outbox, the files.

No SQL: they answer also while the database does not. Runs on the task thread that answers /metrics.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ipc import PeerInfo

# A peer says its own name. Those of a machine are a handful; a program that makes names up gets no row for each.
MAX_PEER_NAMES = 32
MAX_NAME_CHARS = 64
OTHER_PEERS = "(others)"


class Channel(Protocol):
    """What is asked of the ipc server."""

    @property
    def peers(self) -> list[PeerInfo]: ...
    @property
    def stats(self) -> dict[str, Any]: ...


class Log(Protocol):
    """What is asked of the outbox."""

    @property
    def oldest(self) -> int: ...
    @property
    def newest(self) -> int: ...


class Sources(Collector):
    """Looks at the ipc server, the outbox and the database's files."""

    def __init__(self, channel: Channel, outbox: Log, database_path: Path) -> None:
        self._channel = channel
        self._outbox = outbox
        self._path = database_path

    def describe(self) -> Iterable[Metric]:
        """Name nothing: what registers us would otherwise collect once, before there is anything."""
        return []

    def collect(self) -> Iterator[Metric]:
        newest, oldest = self._outbox.newest, self._outbox.oldest
        yield _gauge("axon_outbox_rows", "Messages that can be sent again.", newest + 1 - oldest)
        yield _gauge("axon_outbox_newest_seq", "The seq of the newest message.", newest)
        yield self._sizes()
        yield from self._peers(newest)
        stats = self._channel.stats
        for what in ("sent", "received", "duplicates"):
            words = f"Messages of clients: {what}."
            yield CounterMetricFamily(f"axon_ipc_messages_{what}", words, value=stats.get(what, 0))

    def _sizes(self) -> Metric:
        sizes = GaugeMetricFamily("axon_log_size_bytes", "Of the database with the message log.", labels=["file"])
        for file, suffix in (("database", ""), ("wal", "-wal")):
            sizes.add_metric([file], _size_bytes(self._path.with_name(self._path.name + suffix)))
        return sizes

    def _peers(self, newest: int) -> Iterator[Metric]:
        peers = self._channel.peers
        count = GaugeMetricFamily("axon_ipc_peers", "Clients that are connected.", labels=["peer"])
        acked = GaugeMetricFamily("axon_ipc_peer_acked_seq", "Up to where it has handled the log.", labels=["peer"])
        lag = GaugeMetricFamily("axon_ipc_peer_lag", "Messages that it has not handled yet.", labels=["peer"])
        for name, seqs in _acked_by_name(peers).items():
            count.add_metric([name], len(seqs))
            acked.add_metric([name], min(seqs))  # of clients that share a name the one that is last
            lag.add_metric([name], max(0, newest - min(seqs)))
        yield _gauge("axon_ipc_connections", "Clients that are connected, of any name.", len(peers))
        yield from (count, acked, lag)


def _acked_by_name(peers: list[PeerInfo]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for peer in peers:
        name = peer.name[:MAX_NAME_CHARS] or "(unnamed)"
        if name not in found and len(found) >= MAX_PEER_NAMES:
            name = OTHER_PEERS
        found.setdefault(name, []).append(peer.acked_seq)
    return found


def _gauge(name: str, words: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, words, value=value)


def _size_bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
