"""/metrics of a real server with real clients."""

import time

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.unit.server_proc.running_server import DEADLINE_S, RunningServer, Sockets

MARKS = 20


@pytest.fixture
def server(socket_dir, tmp_path):
    sockets = Sockets(socket_dir)
    with RunningServer(sockets, tmp_path / "state") as server:
        yield server
    sockets.close()
    (socket_dir / "axon.sock").unlink(missing_ok=True)


def scrape(server):
    """Return {(name, labels): value}."""
    answer = server.request("GET", "/metrics")
    assert answer.status == 200
    families = text_string_to_metric_families(answer.body.decode())
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def scraped_once(server, is_there):
    deadline_s = time.monotonic() + DEADLINE_S
    while True:
        figures = scrape(server)
        if is_there(figures) or time.monotonic() > deadline_s:
            return figures


def of_peer(name):
    return ("axon_ipc_peer_acked_seq", frozenset({("peer", name)})), ("axon_ipc_peer_lag", frozenset({("peer", name)}))


NOTHING = frozenset()


def test_each_client_tells_how_far_it_is_and_is_gone_when_it_leaves(server):
    assert server.post({"personId": "before"}).status == 201
    acked, lag = of_peer("board")
    with server.client("board") as client:
        figures = scrape(server)
        assert (figures[acked], figures[lag]) == (1, 0)  # what was said before it came is nothing that it missed
        for number in range(MARKS):
            assert server.post({"personId": str(number)}).status == 201
        client.wait_for_seq(MARKS + 1)
        # In one scrape the histogram is read before the peers.
        figures = scraped_once(
            server,
            lambda figures: (
                figures[acked] == MARKS + 1 and figures["axon_mark_to_acked_seconds_count", NOTHING] == MARKS
            ),
        )
        assert (figures[acked], figures[lag]) == (MARKS + 1, 0)
        assert figures["axon_ipc_connections", NOTHING] == 1
        assert figures["axon_outbox_rows", NOTHING] == MARKS + 1
        assert figures["axon_mark_to_acked_seconds_count", NOTHING] == MARKS
        assert 0 < figures["axon_mark_to_acked_seconds_sum", NOTHING] < MARKS * DEADLINE_S
        assert figures["axon_marks_total", frozenset({("result", "created")})] == MARKS + 1
        assert figures["axon_log_size_bytes", frozenset({("file", "database")})] > 0
    figures = scraped_once(server, lambda figures: acked not in figures)
    assert acked not in figures
    assert lag not in figures


def test_a_request_that_waitress_refuses_is_counted(server):
    assert server.request("GET", "/healthz", headers={"X": "x" * 40_000}).status == 431
    assert scrape(server)["axon_http_refused_total", frozenset({("status", "431")})] == 1
