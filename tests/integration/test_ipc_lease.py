"""Callers that read their own replies: nothing else may notice."""

import threading

import pytest

from ipc import RequestError, SocketClient, SocketServer

DEADLINE_S = 30.0


@pytest.fixture
def channel(socket_path):
    server = SocketServer(socket_path)
    server.on_request("double")(lambda payload: {"is": 2 * payload["number"]})
    server.start()
    client = SocketClient(socket_path)
    client.start()
    yield server, client
    client.stop()
    server.stop()


def ask_often(client, numbers, answers):
    for number in numbers:
        answers.append(client.request({"type": "double", "number": number}, timeout_s=DEADLINE_S)["is"])


def test_a_streak_of_requests_is_answered_in_order(channel):
    _, client = channel
    answers = []
    ask_often(client, range(2000), answers)
    assert answers == [2 * number for number in range(2000)]
    assert client.stats["received"] == 2000


@pytest.mark.parametrize("callers", [1, 4])
def test_messages_meanwhile_come_once_in_order_on_the_clients_thread(channel, callers):
    server, client = channel
    received, threads = [], set()
    is_last = threading.Event()

    @client.add_message_handler
    def keep(payload):
        received.append(payload["n"])
        threads.add(threading.current_thread().name)
        if payload["n"] == 3000:
            is_last.set()

    client.request({"type": "double", "number": 0}, timeout_s=DEADLINE_S)
    answers = [[] for _ in range(callers)]
    asking = [threading.Thread(target=ask_often, args=(client, range(1000), each)) for each in answers]
    for thread in asking:
        thread.start()
    for number in range(1, 3001):
        server.broadcast({"n": number})
    for thread in asking:
        thread.join()
    assert is_last.wait(DEADLINE_S)
    assert received == list(range(1, 3001))
    assert threads == {"ipc-client-client"}
    assert answers == [[2 * number for number in range(1000)]] * callers


def test_a_connection_that_breaks_in_a_streak_ends_every_request_and_the_next_ones_work(channel):
    server, client = channel
    outcomes = []
    for number in range(600):
        if number % 100 == 50:
            for peer in server._hub.peers:
                peer.end("cut by the test")
        try:
            outcomes.append(client.request({"type": "double", "number": number}, timeout_s=DEADLINE_S)["is"])
        except RequestError as error:
            outcomes.append(error.code)
    assert all(outcome in ("disconnected", 2 * number) for number, outcome in enumerate(outcomes))
    assert outcomes.count("disconnected") <= 6
    assert outcomes[-1] == 2 * 599


def test_a_request_without_an_answer_times_out_in_a_streak_too(channel):
    server, client = channel
    gate = threading.Event()
    server.on_request("never")(lambda _payload: {"waited": gate.wait(DEADLINE_S)})
    ask_often(client, range(50), [])
    with pytest.raises(RequestError, match="timeout"):
        client.request({"type": "never"}, timeout_s=0.05)
    gate.set()
    assert client.request({"type": "double", "number": 4}, timeout_s=DEADLINE_S) == {"is": 8}
