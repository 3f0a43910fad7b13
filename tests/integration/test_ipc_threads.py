"""Many threads on both sides: order is kept, nothing is mixed up, nobody waits for ever."""

import json
import random
import threading
from collections import defaultdict

from ipc import Limits
from tests.unit.ipc.channel import WITHIN_S, Arrivals, eventually, run_together, unhurried
from tests.unit.ipc.stranger import Stranger

THREADS = 32
ROOMY = unhurried(log_bytes=1 << 30, outbox_bytes=1 << 30, outbox_messages=1 << 20)
FAR = 50_000  # messages that a client may be behind: less than a server keeps


def payloads_of(thread, count):
    """Yield messages of a thread, from 100 bytes to 200 kB, that can be told apart and checked."""
    sizes = random.Random(thread)  # noqa: S311 - the same sizes each time
    for number in range(count):
        text = chr(65 + thread % 26) * int(10 ** sizes.uniform(2.0, 5.3))
        yield {"thread": thread, "number": number, "text": text}


def assert_each_in_order(payloads, count):
    """Each thread's messages are all there, in its order and undamaged."""
    numbers = defaultdict(list)
    for payload in payloads:
        numbers[payload["thread"]].append(payload["number"])
        assert set(payload["text"]) == {chr(65 + payload["thread"] % 26)}
    assert numbers == {thread: list(range(count)) for thread in range(THREADS)}


def test_threads_that_broadcast_at_once(open_server, open_client, socket_path):
    server = open_server(limits=ROOMY)
    listeners = [open_client(name=f"{number}", limits=ROOMY).wait_live() for number in range(3)]
    count = 25
    heard = []

    def overhear():
        """Parse every frame with nothing but the standard library."""
        with Stranger(socket_path) as stranger:
            stranger.greet()
            greeted.set()
            while not heard or heard[-1]["seq"] < THREADS * count:
                heard.extend(json.loads(line) for line in stranger.recv_bytes().split(b"\n"))

    def broadcast(thread):
        for payload in payloads_of(thread, count):
            assert server.broadcast(payload) == 4

    greeted = threading.Event()
    stranger = threading.Thread(target=overhear)
    stranger.start()
    assert greeted.wait(WITHIN_S)
    eventually(lambda: server.stats["peers"] == 4)
    run_together(*(lambda thread=thread: broadcast(thread) for thread in range(THREADS)))
    stranger.join()
    for listener in listeners:
        messages = listener.deliveries.wait_for(THREADS * count, within_s=60.0)
        assert [message.seq for message in messages] == list(range(1, THREADS * count + 1))
        assert_each_in_order([message.payload for message in messages], count)
        assert listener.gaps.items == []
    assert [message["seq"] for message in heard] == list(range(1, THREADS * count + 1))
    assert_each_in_order([message["payload"] for message in heard], count)


def test_threads_that_send_at_once(open_server, open_client):
    server = open_server(limits=ROOMY)
    handled = Arrivals()
    server.add_message_handler(handled)
    client = open_client(limits=ROOMY).wait_live().client
    count = 25

    def send(thread):
        for payload in payloads_of(thread, count):
            assert client.send_message(payload)

    run_together(*(lambda thread=thread: send(thread) for thread in range(THREADS)))
    assert_each_in_order(handled.wait_for(THREADS * count, within_s=60.0), count)
    eventually(lambda: client.stats["unacknowledged"] == 0)
    assert server.stats["duplicates"] == 0


def test_small_messages_at_full_speed_from_many_threads(open_server, open_client):
    """The path where the caller's own thread sends: news that comes meanwhile is not forgotten."""
    server = open_server()
    listener = open_client().wait_live()
    count = 300

    def broadcast(thread):
        for number in range(count):
            server.broadcast({"thread": thread, "number": number, "text": chr(65 + thread % 26)})

    for _ in range(5):
        listener.deliveries.items.clear()
        run_together(*(lambda thread=thread: broadcast(thread) for thread in range(THREADS)))
        messages = listener.deliveries.wait_for(THREADS * count, within_s=60.0)
        assert_each_in_order([message.payload for message in messages], count)


def test_the_last_message_of_each_burst_arrives_without_another_one(open_server, open_client):
    """What is held back for a moment goes out by itself."""
    silence = {"heartbeat_s": 1000.0}  # no ping takes it along
    server = open_server(limits=unhurried(**silence))
    handled = Arrivals()
    server.add_message_handler(handled)
    listener = open_client(limits=Limits(**silence)).wait_live()
    total = 0
    for burst in range(1, 200):
        for number in range(burst % 7 + 1):
            server.broadcast({"burst": burst, "number": number})
            listener.client.send_message({"burst": burst, "number": number})
        total += burst % 7 + 1
        listener.deliveries.wait_for(total)
        handled.wait_for(total)


def test_both_sides_send_from_their_handlers_at_full_speed(open_server, open_client):
    """Each message makes the other side send one more, of any size, over many threads: nobody ever waits for room."""
    server = open_server(limits=ROOMY)
    rounds = 400
    sizes = random.Random(1)  # noqa: S311 - the same sizes each time
    at_server = Arrivals()

    @server.add_message_handler
    def answer(payload):
        at_server(payload["number"])
        server.broadcast({"number": payload["number"], "text": "x" * payload["size"]})

    listener = open_client(limits=ROOMY).wait_live()

    @listener.client.add_message_handler
    def ask_again(payload):
        number = payload["number"] + 20
        if number < rounds:
            size = int(10 ** sizes.uniform(1.0, 5.8))
            assert listener.client.send_message({"number": number, "size": size, "text": "y" * size})

    for number in range(20):
        assert listener.client.send_message({"number": number, "size": 500_000, "text": "y" * 500_000})
    at_server.wait_for(rounds, within_s=60.0)
    listener.deliveries.wait_for(rounds, within_s=60.0)
    assert sorted(at_server.items) == list(range(rounds))
    assert [payload["number"] for payload in listener.wait_for_payloads(rounds)] == at_server.items


def test_a_handler_that_broadcasts_to_clients_that_answer_to_the_server(open_server, open_client):
    """Ten clients and a server in a loop of messages: every thread is both a reader and a sender."""
    server = open_server()
    handled = Arrivals()

    @server.add_message_handler
    def pass_on(payload):
        handled(payload)
        if payload["hops"]:
            server.broadcast({"hops": payload["hops"] - 1, "to": payload["from"]})

    listeners = {}
    for name in map(str, range(10)):
        listeners[name] = listener = open_client(name=name).wait_live()

        def bounce(payload, name=name, client=listener.client):
            if payload["to"] == name:
                client.send_message({"hops": payload["hops"], "from": name})

        listener.client.add_message_handler(bounce)
    for name, listener in listeners.items():
        listener.client.send_message({"hops": 50, "from": name})
    handled.wait_for(10 * 51)
    for listener in listeners.values():
        listener.deliveries.wait_for(10 * 50)
        assert listener.seqs == list(range(1, 501))


def test_clients_that_come_and_go_while_threads_broadcast(open_server, open_client):
    server = open_server()
    steady = open_client(name="steady").wait_live()
    ended = threading.Event()
    raised = []

    def broadcast():
        try:
            while not ended.is_set():
                server.broadcast({"text": "x" * 200})
                _ = server.stats, server.peers
                eventually(lambda: server.stats["newest"] - len(steady.deliveries.items) < FAR)
        except BaseException as error:  # noqa: BLE001 - it is told to the test
            raised.append(error)

    threads = [threading.Thread(target=broadcast) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for number in range(30):
            listener = open_client(name=f"visitor {number}").wait_live()
            listener.deliveries.wait_for(5)
            listener.client.stop()
            seqs = listener.seqs
            assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    assert raised == []
    newest = server.stats["newest"]
    steady.deliveries.wait_until(lambda messages: messages and messages[-1].seq == newest)
    assert steady.seqs == list(range(1, newest + 1))
