"""What is looked at when somebody asks for the figures."""

from collections import Counter

import pytest
from prometheus_client import CollectorRegistry

from ipc import PeerInfo
from server_proc.metric_sources import MAX_PEER_NAMES, OTHER_PEERS, Sources


def peer(name, acked_seq=0):
    return PeerInfo(
        id=f"{name}-1", name=name, client="c", pid=1, cursor=acked_seq, acked_seq=acked_seq, lag=0, queue=0, sent=0,
        sent_bytes=0, received=0, received_bytes=0, p50_ms=None, p99_ms=None,
    )  # fmt: skip


class Channel:
    def __init__(self):
        self.peers = []
        self.stats = {"sent": 7}


class Log:
    oldest, newest = 11, 20


@pytest.fixture
def channel():
    return Channel()


@pytest.fixture
def registry(channel, tmp_path):
    registry = CollectorRegistry()
    registry.register(Sources(channel, Log(), tmp_path / "attendance.db"))
    return registry


def peer_names(registry):
    return {
        sample.labels["peer"]: sample.value
        for family in registry.collect()
        for sample in family.samples
        if sample.name == "axon_ipc_peers"
    }


def test_the_outbox_and_the_channel(registry):
    assert registry.get_sample_value("axon_outbox_rows") == 10
    assert registry.get_sample_value("axon_outbox_newest_seq") == 20
    assert registry.get_sample_value("axon_ipc_messages_sent_total") == 7
    assert registry.get_sample_value("axon_ipc_connections") == 0


def test_how_far_each_peer_is_until_it_leaves(registry, channel):
    channel.peers = [peer("ui", 15)]
    assert registry.get_sample_value("axon_ipc_peer_acked_seq", {"peer": "ui"}) == 15
    assert registry.get_sample_value("axon_ipc_peer_lag", {"peer": "ui"}) == 5
    channel.peers = []
    assert registry.get_sample_value("axon_ipc_peer_lag", {"peer": "ui"}) is None


def test_peers_of_one_name_are_one_row_that_tells_of_the_last(registry, channel):
    channel.peers = [peer("ui", 20), peer("ui", 12)]
    assert peer_names(registry) == {"ui": 2}
    assert registry.get_sample_value("axon_ipc_peer_lag", {"peer": "ui"}) == 8


def test_names_that_a_peer_makes_up_are_bounded(registry, channel):
    channel.peers = [peer(f"x{number}") for number in range(500)] + [peer("y" * 5000), peer("")]
    names = peer_names(registry)
    assert len(names) == MAX_PEER_NAMES + 1
    assert names[OTHER_PEERS] == 502 - MAX_PEER_NAMES
    assert sum(Counter(names).values()) == 502
    assert max(map(len, names)) <= 64


def test_the_size_of_the_files(registry, tmp_path):
    (tmp_path / "attendance.db").write_bytes(b"x" * 100)
    assert registry.get_sample_value("axon_log_size_bytes", {"file": "database"}) == 100
    assert registry.get_sample_value("axon_log_size_bytes", {"file": "wal"}) == 0
