"""The figures of a channel: log lines, folded lines and stats, and that both ends tell the same."""

import threading

import pytest

from ipc import Limits, traffic
from tests.unit.ipc.channel import (
    QUICK,
    Arrivals,
    Listener,
    eventually,
    run_together,
    thread_names,
    unhurried,
    watch_folding,
)
from tests.unit.ipc.cutting_proxy import CuttingProxy
from tests.unit.ipc.stranger import Stranger

TRAFFIC = ("message_sent", "message_received", "traffic")


def told(log_lines, channel):
    """Return how many messages an end has told of as (sent, received)."""
    lines = [line for line in list(log_lines.items) if line.get("channel") == channel and line["event"] in TRAFFIC]
    folded = [line for line in lines if line["event"] == "traffic"]
    sent = sum(line["event"] == "message_sent" for line in lines) + sum(line["sent"] for line in folded)
    received = sum(line["event"] == "message_received" for line in lines) + sum(line["received"] for line in folded)
    return sent, received


def assert_told(log_lines, **expected):
    """Check what each end has told of in the end: on a busy machine its last line may come later than `stop`."""
    eventually(lambda: thread_names("ipc-traffic") == [])
    assert {channel: told(log_lines, channel) for channel in expected} == expected


@pytest.mark.parametrize(("down", "up", "requests"), [(3, 2, 1), (5000, 0, 0), (0, 5000, 0), (3000, 3000, 300)])
def test_the_log_tells_of_every_message_once_at_both_ends(log_lines, open_server, open_client, down, up, requests):
    server = open_server()
    handled = Arrivals()
    server.add_message_handler(handled)
    server.on_request("ask")(lambda _payload: {"answer": 1})
    listener = open_client(name="end").wait_live()

    def broadcast():
        for number in range(down):
            server.broadcast({"type": "a", "number": number})

    def send():
        for number in range(up):
            assert listener.client.send_message({"type": "b", "number": number})

    def ask():
        for _ in range(requests):
            listener.client.request({"type": "ask"}, timeout_s=40)

    run_together(broadcast, send, ask)
    listener.deliveries.wait_for(down)
    handled.wait_for(up)
    eventually(lambda: listener.client.stats["unacknowledged"] == 0)
    stats, client_stats = server.stats, listener.client.stats
    listener.client.stop()
    server.stop()
    assert_told(log_lines, server=(down + requests, up + requests), end=(up + requests, down + requests))
    assert (stats["sent"], stats["received"]) == (down + requests, up + requests)
    assert (client_stats["sent"], client_stats["received"]) == (up + requests, down + requests)


def test_bytes_balance_between_both_ends(open_server, open_client):
    """Every byte that one end has sent after the handshake, the other has received."""
    server = open_server()
    handled = Arrivals()
    server.add_message_handler(handled)
    listener = open_client().wait_live()
    for number in range(2000):
        server.broadcast({"number": number, "text": "x" * (number % 300)})
        listener.client.send_message({"number": number})
    listener.deliveries.wait_for(2000)
    handled.wait_for(2000)
    eventually(lambda: listener.client.stats["unacknowledged"] == 0 and server.peers[0].acked_seq == 2000)
    # What has been sent may have arrived before the thread that sent it has counted it.
    eventually(lambda: server.stats["sent_bytes"] == listener.client.stats["received_bytes"])
    eventually(lambda: listener.client.stats["sent_bytes"] == server.stats["received_bytes"])


def test_what_a_handler_makes_of_its_payload_is_not_told(log_lines, open_server, open_client):
    """It was another message that came; and one that no line can hold must not end the lines."""
    server = open_server()
    handled = Arrivals()

    @server.add_message_handler
    def change(payload):
        if payload["type"] == "filled":
            payload["when"] = object()
        else:
            payload.clear()
        handled(1)

    client = open_client().wait_live().client
    for kind in ("filled", "cleared", "filled", "cleared"):
        client.send_message({"type": kind, "text": "x"})
        handled.wait_for(1)
        handled.items.clear()
    client.stop()
    server.stop()
    assert_told(log_lines, server=(0, 4))
    lines = [line for line in log_lines.named("message_received") if line["channel"] == "server"]
    assert [line["type"] for line in lines] == ["filled", "cleared", "filled", "cleared"]
    assert len({line["size_bytes"] for line in lines}) == 2


def test_a_message_that_comes_again_is_neither_counted_nor_told(log_lines, open_server, socket_path):
    server = open_server()
    with Stranger(socket_path) as stranger:
        stranger.greet()
        for _ in range(3):
            stranger.say({"op": "message", "id": 1, "payload": {}}, {"op": "request", "id": 2, "payload": {}})
        stranger.hear_until("reply")
        eventually(lambda: server.stats["duplicates"] == 4)
    server.stop()
    assert_told(log_lines, server=(1, 2))
    assert (server.stats["sent"], server.stats["received"]) == (1, 2)


def test_after_a_burst_single_messages_are_told_again_from_the_first_on(
    log_lines, open_server, open_client, monkeypatch
):
    monkeypatch.setattr(traffic, "_WINDOW_S", 0.05)
    has_settled = watch_folding(monkeypatch)
    server = open_server()
    client = open_client().wait_live().client
    for number in range(500):
        client.send_message({"type": "burst", "number": number})
    eventually(lambda: told(log_lines, "server")[1] == 500)
    eventually(lambda: has_settled(server._hub.traffic))
    client.send_message({"type": "single"})
    eventually(lambda: told(log_lines, "server")[1] == 501)
    singles = [line for line in log_lines.named("message_received") if line["type"] == "single"]
    assert [line["channel"] for line in singles] == ["server"]


def test_counts_are_exact_over_a_stop_and_a_start(log_lines, open_server, open_client):
    server = open_server()
    listener = open_client(name="end").wait_live()
    for number in range(1, 4):
        server.broadcast({"number": number})
        listener.client.send_message({"number": number})
        listener.deliveries.wait_for(number)
        eventually(lambda: listener.client.stats["unacknowledged"] == 0)
        listener.client.stop()
        server.stop()
        assert_told(log_lines, server=(number, number), end=(number, number))
        server.start()
        listener.client.start()
        listener.wait_live()


def test_stats_are_kept_over_connections(open_server, socket_dir, socket_path):
    server = open_server()
    handled = Arrivals()
    server.add_message_handler(handled)
    proxy = CuttingProxy(str(socket_dir / "p.sock"), socket_path)
    listener = Listener(proxy.path, limits=QUICK).start().wait_live()
    try:
        for round_ in range(1, 6):
            server.broadcast({"round": round_})
            listener.client.send_message({"round": round_})
            listener.deliveries.wait_for(round_)
            handled.wait_for(round_)
            eventually(lambda: listener.client.stats["unacknowledged"] == 0)
            lives = listener.state_kinds.count("live")
            proxy.cut()
            listener.states.wait_until(
                lambda states, lives=lives: [state.kind for state in states].count("live") > lives
            )
        assert (server.stats["sent"], server.stats["received"]) == (5, 5)
        assert (listener.client.stats["sent"], listener.client.stats["received"]) == (5, 5)
    finally:
        listener.client.stop()
        proxy.close()


def test_what_a_peer_is_and_how_far_it_has_come(open_server, socket_path):
    server = open_server()
    with Stranger(socket_path) as stranger:
        stranger.greet("uuid of a stranger", name="stranger")
        eventually(lambda: server.peers)
        for number in range(10):
            server.broadcast({"number": number})
        heard = []
        while len(heard) < 10:
            heard += stranger.hear()
        [peer] = server.peers
        assert (peer.name, peer.client, peer.sent, peer.cursor, peer.lag) == (
            "stranger",
            "uuid of a stranger",
            10,
            10,
            0,
        )
        assert (peer.acked_seq, peer.p50_ms, peer.received) == (0, None, 0)
        stranger.say({"op": "ack", "seq": 10}, {"op": "message", "id": 1, "payload": {}})
        eventually(lambda: server.peers[0].received == 1)
        [peer] = server.peers
        assert peer.acked_seq == 10
        assert 0.0 < peer.p50_ms <= peer.p99_ms


def test_an_ack_of_what_was_never_said_is_not_believed(open_server, socket_path):
    server = open_server()
    with Stranger(socket_path) as stranger:
        stranger.greet()
        server.broadcast({})
        stranger.say({"op": "ack", "seq": 2**53 - 1}, {"op": "ping", "n": 1})
        stranger.hear_until("pong")
        assert server.peers[0].acked_seq <= 1


def test_how_far_a_peer_lags(open_server, socket_path):
    server = open_server(limits=unhurried(log_bytes=1 << 30))
    with Stranger(socket_path) as stranger:
        stranger.greet()
        for _ in range(100):
            server.broadcast({"text": "x" * 100_000})
        assert server.peers[0].lag > 50
        heard = []
        while len(heard) < 100:
            heard += [each for each in stranger.hear() if each["op"] == "message"]
        eventually(lambda: server.peers[0].lag == 0)


def test_the_traffic_line_says_how_far_the_slowest_lags(log_lines, open_server, open_client, socket_path):
    server = open_server(limits=unhurried(log_bytes=1 << 30))
    listener = open_client().wait_live()
    with Stranger(socket_path) as deaf:
        deaf.greet()
        for _ in range(100):
            server.broadcast({"text": "x" * 100_000})
        listener.deliveries.wait_for(100)
        # The first line may be of a moment at which nobody lagged yet.
        lines = log_lines.wait_until(lambda lines: any(line["lag"] for line in of_the_server(lines)))
        assert max(line["lag"] for line in of_the_server(lines)) <= 100


def of_the_server(lines):
    return [line for line in lines if line["event"] == "traffic" and line["channel"] == "server"]


def test_a_client_lags_while_it_has_no_server(open_client):
    client = open_client(limits=Limits()).client
    for number in range(100):
        client.send_message({"number": number})
    assert client.stats["lag"] == 100


def test_latency_of_an_idle_channel_is_short(open_server, open_client):
    server = open_server()
    listener = open_client().wait_live()
    for number in range(1, 201):
        server.broadcast({"number": number})
        listener.deliveries.wait_for(number)
        eventually(lambda number=number: server.peers[0].acked_seq == number)
    assert server.peers[0].p50_ms < 50


def test_join_and_leave_are_told(log_lines, open_server, open_client):
    open_server()
    listener = open_client(name="visitor").wait_live()
    [joined] = log_lines.wait_for_event("peer_joined")
    listener.client.stop()
    [left] = log_lines.wait_for_event("peer_left")
    assert joined["peer"] == left["peer"]
    assert joined["peer"].startswith("visitor")
    assert joined["resumed"] is False


def test_a_reason_of_a_bye_is_told_in_reason(log_lines, open_server, socket_path):
    """A peer may say what it likes; the log does not grow by a megabyte for it."""
    open_server()
    with Stranger(socket_path) as stranger:
        stranger.greet()
        stranger.say({"op": "bye", "reason": "x" * 900_000})
        [left] = log_lines.wait_for_event("peer_left")
    assert len(left["reason"]) <= 1000


def test_a_message_to_one_client_is_counted_and_not_replayed(open_server, open_client):
    server = open_server()
    first, second = open_client(name="first").wait_live(), open_client(name="second").wait_live()
    eventually(lambda: len(server.peers) == 2)
    [peer] = [peer for peer in server.peers if peer.name == "first"]
    assert server.send(peer.id, {"to": "first"})
    assert server.send(peer, {"to": "first"})
    assert not server.send("nobody", {"to": "nobody"})
    server.broadcast({"to": "both"})
    assert sorted(payload["to"] for payload in first.wait_for_payloads(3)) == ["both", "first", "first"]
    assert second.wait_for_payloads(1) == [{"to": "both"}]
    assert sorted(first.seqs) == [0, 0, 1]
    assert server.stats["sent"] == 4
    assert first.client.stats["received"] == 3


def test_counting_threads_do_not_disturb_the_figures(open_server, open_client):
    """stats are asked for all the time, as a metrics page does."""
    server = open_server()
    listener = open_client().wait_live()
    ended = threading.Event()
    seen = []

    def ask():
        while not ended.is_set():
            seen.append(server.stats["sent"])

    thread = threading.Thread(target=ask)
    thread.start()
    for number in range(3000):
        server.broadcast({"number": number})
    listener.deliveries.wait_for(3000)
    ended.set()
    thread.join()
    assert seen == sorted(seen)
    assert server.stats["sent"] == 3000


def test_acks_are_told_once_each_as_ranges(open_server, open_client):
    server = open_server()
    told = []

    @server.add_ack_handler
    def fail(_previous, _seq):
        raise ZeroDivisionError  # disturbs nobody

    server.add_ack_handler(lambda previous, seq: told.append((previous, seq)))
    server.broadcast("before anybody is here")
    open_client()
    eventually(lambda: server.peers)
    for number in range(20):
        server.broadcast(str(number))
    eventually(lambda: server.peers[0].acked_seq == 21)
    assert told[0][0] == 1  # what was said before it came is not its to handle
    assert told[-1][1] == 21
    assert [previous for previous, _ in told[1:]] == [seq for _, seq in told[:-1]]
