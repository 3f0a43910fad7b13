"""Every message once and in order, however often and wherever the way between client and server breaks."""

import json
import os
import shutil
import tempfile
import threading
from collections import defaultdict
from multiprocessing.connection import Listener as StockListener

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from ipc import Limits, MemoryLog, RequestError, SocketServer
from tests.unit.ipc.channel import KEY, QUICK, WITHIN_S, Arrivals, Listener, eventually, thread_names, unhurried
from tests.unit.ipc.cutting_proxy import DOWN, UP, CuttingProxy
from tests.unit.ipc.stranger import Stranger


class Ends:
    """What the server's handlers have been given, by client, over the life of one server."""

    def __init__(self):
        self.handled = defaultdict(list)
        self.changed = Arrivals()

    def __call__(self, payload):
        self.handled[payload["from"]].append(payload["number"])
        self.changed(payload)


@pytest.fixture
def proxy(socket_dir, socket_path):
    proxy = CuttingProxy(str(socket_dir / "p.sock"), socket_path)
    yield proxy
    proxy.close()


# -- cut at every byte -------------------------------------------------------------------------------------------------


def converse(server, proxy, ends, name):
    """Hold a whole session over `proxy` and check that nothing was lost, doubled or swapped."""
    listener = Listener(proxy.path, limits=Limits(retry_max_s=0.002), name=name)
    for number in (1, 2):
        assert listener.client.send_message({"from": name, "number": number})
    listener.start()
    try:
        listener.wait_live()
        first = server.stats["newest"] + 1
        for number in (1, 2, 3):
            server.broadcast({"number": number})
        assert listener.client.send_message({"from": name, "number": 3})
        outcome = Arrivals()
        listener.client.begin_request({"type": "echo", "name": name}, outcome)
        [reply] = outcome.wait_for(1)
        assert reply == {"echo": name} or reply.code == "disconnected"
        listener.deliveries.wait_for(3)
        ends.changed.wait_until(lambda _: len(ends.handled[name]) >= 3)
        eventually(lambda: listener.client.stats["unacknowledged"] == 0)
    finally:
        listener.client.stop()
    assert listener.seqs == [first, first + 1, first + 2]
    assert [message.payload["number"] for message in listener.deliveries.items] == [1, 2, 3]
    assert listener.gaps.items == []
    assert ends.handled[name] == [1, 2, 3]
    assert outcome.items == [reply]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("direction", [UP, DOWN])
def test_a_session_cut_at_any_byte_ends_up_exact(open_server, proxy, direction):
    server = open_server()
    ends = Ends()
    server.add_message_handler(ends)
    server.on_request("echo")(lambda payload: {"echo": payload["name"]})
    offset = cuts = uncut = 0
    while uncut < 20:  # in a row: how long a session is varies a little, with the number of its frames
        proxy.cut_after[direction] = offset
        converse(server, proxy, ends, f"cut at {offset}")
        is_cut = proxy.cut_after[direction] is None
        cuts += is_cut
        uncut = 0 if is_cut else uncut + 1
        offset += 1
    assert cuts > 300


@pytest.mark.parametrize("direction", [UP, DOWN])
def test_a_backlog_gets_through_although_every_connection_breaks_soon(open_server, proxy, direction):
    """Each carries some of it, and has been of use: the next one comes soon."""
    server = open_server()
    handled = Arrivals()
    server.add_message_handler(handled)
    listener = Listener(proxy.path).start().wait_live()
    proxy.stall()
    proxy.cut()
    backlog = [{"number": number, "text": "x" * 100} for number in range(2000)]
    for payload in backlog:
        assert listener.client.send_message(payload) if direction == UP else server.broadcast(payload) >= 0
    proxy.cut_each_after = {direction: 20_000}
    proxy.cut()
    listener.states.items.clear()
    proxy.resume()
    assert (handled.wait_for(2000) if direction == UP else listener.wait_for_payloads(2000)) == backlog
    proxy.cut_each_after = {}
    eventually(lambda: listener.client.stats["unacknowledged"] == 0)
    listener.client.stop()
    waiting = [state for state in listener.states.items if state.kind == "waiting"]
    assert len(waiting) > 10
    assert max(state.attempt for state in waiting) <= 2  # of what went up the next welcome may be the first to tell
    assert listener.gaps.items == []


# -- a machine of everything -------------------------------------------------------------------------------------------


class FarEnd:
    """One client behind its own proxy, with all that was promised to it and all that came."""

    def __init__(self, directory, number, server_path, joined_at):
        self.joined_at = joined_at
        self.name = f"client-{number}"
        self.proxy = CuttingProxy(f"{directory}/p{number}", server_path)
        self.events = Arrivals()
        self.sent = 0
        self.requests = []
        self.listener = Listener(self.proxy.path, name=self.name, limits=Limits(retry_max_s=0.01))
        client = self.listener.client
        client.add_delivery_handler(lambda message: self.events((client.stats["epoch"], message.seq, message.seq)))
        client.add_gap_handler(lambda first, last: self.events((client.stats["epoch"], first, last)))
        self.listener.start()

    def close(self):
        self.listener.client.stop()
        self.proxy.close()

    def send(self):
        self.sent += 1
        assert self.listener.client.send_message({"from": self.name, "number": self.sent})

    def request(self):
        outcome = Arrivals()
        self.listener.client.begin_request({"type": "echo", "number": len(self.requests)}, outcome)
        self.requests.append(outcome)

    def ask(self, count):
        """Ask one request after the other, as somebody who waits for each reply."""
        for number in range(count):
            try:
                outcome = self.listener.client.request({"type": "echo", "number": number}, timeout_s=0.02)
            except RequestError as error:
                outcome = error.code
            assert outcome in ({"number": number}, "timeout", "disconnected")

    def reached(self):
        """Return the epoch and seq up to which it was told everything, by message or gap, once and in order.

        Of an epoch that ended it may have been told no more than an unbroken beginning.
        """
        epoch, last_seq = self.joined_at
        for told_epoch, first, last in list(self.events.items):
            epoch, last_seq = told_epoch, last_seq if told_epoch == epoch else 0
            assert first == last_seq + 1, self.events.items
            last_seq = last
        return epoch, last_seq


class Channel(RuleBasedStateMachine):
    """A server that comes and goes, clients whose ways break, stall and drip; at every rest all is exact."""

    LOG = Limits(log_messages=40)

    @initialize()
    def open(self):
        self.directory = tempfile.mkdtemp(prefix="axon-m-", dir="/tmp")
        self.path = f"{self.directory}/a.sock"
        self.lives = []
        self.ends = []
        self._new_server()
        self._new_client()

    def teardown(self):
        if not hasattr(self, "directory"):
            return
        try:
            self.come_to_rest()
        finally:
            for end in self.ends:
                end.close()
            self.server.stop()
            left = os.listdir(self.directory)
            shutil.rmtree(self.directory)
        assert left == []

    def _new_server(self):
        self.server = SocketServer(self.path, authkey=KEY, log=MemoryLog(self.LOG))
        life = Ends()
        self.lives.append(life)
        self.server.add_message_handler(life)
        self.server.on_request("echo")(lambda payload: {"number": payload["number"]})
        self.server.start()

    def _new_client(self):
        joined_at = self.server.stats["epoch"], self.server.stats["newest"]
        self.ends.append(FarEnd(self.directory, len(self.ends), self.path, joined_at))
        self.ends[-1].listener.wait_live()

    ends_of = st.integers(0, 2)

    def _end(self, index):
        return self.ends[index % len(self.ends)]

    @precondition(lambda self: len(self.ends) < 3)
    @rule()
    def another_client(self):
        self._new_client()

    @rule(count=st.integers(1, 30), size=st.sampled_from([0, 100, 20_000]))
    def broadcast(self, count, size):
        for _ in range(count):
            self.server.broadcast({"text": "x" * size})

    @rule(index=ends_of, count=st.integers(1, 20))
    def send(self, index, count):
        for _ in range(count):
            self._end(index).send()

    @rule(index=ends_of)
    def request(self, index):
        self._end(index).request()

    @rule(index=ends_of, count=st.integers(1, 30))
    def ask_again_and_again(self, index, count):
        self._end(index).ask(count)

    @rule(index=ends_of)
    def cut(self, index):
        self._end(index).proxy.cut()

    @rule(index=ends_of, direction=st.sampled_from([UP, DOWN]), count=st.integers(0, 3000))
    def cut_soon(self, index, direction, count):
        self._end(index).proxy.cut_after[direction] = count

    @rule(index=ends_of)
    def stall(self, index):
        self._end(index).proxy.stall()

    @rule(index=ends_of)
    def resume(self, index):
        self._end(index).proxy.resume()

    @rule(index=ends_of, piece_bytes=st.sampled_from([1, 7, 1000, 1 << 16]))
    def forward_in_pieces(self, index, piece_bytes):
        self._end(index).proxy.piece_bytes = piece_bytes

    @rule()
    def restart_with_the_same_log(self):
        self.server.stop()
        self.server.start()

    @rule()
    def restart_with_nothing(self):
        self.server.stop()
        self._new_server()

    @rule()
    def come_to_rest(self):
        for end in self.ends:
            end.proxy.cut_after = {UP: None, DOWN: None}
            end.proxy.piece_bytes = 1 << 16
            end.proxy.resume()
        for end in self.ends:
            self._check(end)

    def _check(self, end):
        epoch, newest = self.server.stats["epoch"], self.server.stats["newest"]
        eventually(lambda: end.listener.client.stats["epoch"] == epoch)
        if newest:
            eventually(lambda: end.reached() == (epoch, newest))
        eventually(lambda: end.listener.client.stats["unacknowledged"] == 0)
        for number, outcome in enumerate(end.requests):
            [reply] = outcome.wait_for(1)
            assert reply == {"number": number} or (isinstance(reply, RequestError) and reply.code == "disconnected")
            assert len(outcome.items) == 1
        # Copies: a thread of a server that is gone may be slow to hand over what it has taken.
        handled = [list(life.handled[end.name]) for life in self.lives]
        for numbers in handled:
            assert not numbers or numbers == list(range(numbers[0], numbers[-1] + 1))
        assert set().union(*handled) == set(range(1, end.sent + 1))


TestChannel = pytest.mark.timeout(600)(Channel.TestCase)
TestChannel.settings = settings(
    max_examples=20, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)


# -- one by one --------------------------------------------------------------------------------------------------------


def test_a_lapped_client_is_told_exactly_what_it_misses(open_server, proxy):
    server = open_server(limits=unhurried(log_messages=10))
    listener = Listener(proxy.path, limits=QUICK).start().wait_live()
    try:
        server.broadcast({"number": 1})
        listener.deliveries.wait_for(1)
        proxy.stall()
        proxy.cut()
        for number in range(2, 51):
            server.broadcast({"number": number})
        proxy.resume()
        listener.deliveries.wait_for(11)
        assert listener.gaps.items == [(2, 40)]
        assert listener.seqs == [1, *range(41, 51)]
        assert listener.client.state.resumed
    finally:
        listener.client.stop()


def test_a_client_lapped_while_it_is_connected_is_told_too(open_server, proxy):
    """It reads too slowly: the log goes round while it stands."""
    server = open_server(limits=unhurried(log_messages=10))
    listener = Listener(proxy.path, limits=QUICK).start().wait_live()
    try:
        proxy.stall()
        for number in range(1, 101):
            server.broadcast({"number": number, "text": "x" * 100_000})
        proxy.resume()
        listener.deliveries.wait_until(lambda messages: messages and messages[-1].seq == 100)
        missed = [seq for first, last in listener.gaps.items for seq in range(first, last + 1)]
        assert missed
        assert sorted(missed + listener.seqs) == list(range(1, 101))
        assert listener.seqs == sorted(listener.seqs)
    finally:
        listener.client.stop()


def test_a_new_epoch_is_delivered_from_its_first_message(open_server, socket_path, open_client):
    server = open_server()
    listener = open_client().wait_live()
    server.broadcast({"epoch": 1})
    listener.deliveries.wait_for(1)
    server.stop()
    heir = SocketServer(socket_path, authkey=KEY, limits=unhurried())
    heir.broadcast({"epoch": 2})  # before anybody can connect
    heir.start()
    try:
        heir.broadcast({"epoch": 2})
        assert [message.payload["epoch"] for message in listener.deliveries.wait_for(3)] == [1, 2, 2]
        assert listener.seqs == [1, 1, 2]
        live = [state for state in listener.states.items if state.kind == "live"]
        assert [state.resumed for state in live] == [False, False]
        assert listener.client.stats["epoch"] == heir.stats["epoch"]
    finally:
        heir.stop()


def test_a_new_epoch_that_has_forgotten_its_beginning_says_so(open_server, socket_path, open_client):
    server = open_server()
    listener = open_client().wait_live()
    server.stop()
    heir = SocketServer(socket_path, authkey=KEY, limits=Limits(log_messages=3))
    for number in range(1, 11):
        heir.broadcast({"number": number})
    heir.start()
    try:
        listener.deliveries.wait_for(3)
        assert listener.gaps.items == [(1, 7)]
        assert listener.seqs == [8, 9, 10]
    finally:
        heir.stop()


def test_what_is_said_while_the_server_is_stopped_is_replayed(open_server, open_client):
    server = open_server()
    listener = open_client().wait_live()
    for number in range(1, 6):
        server.broadcast({"number": number})
        server.stop()
        server.broadcast({"number": number + 100})
        server.start()
    listener.deliveries.wait_for(10)
    assert listener.seqs == list(range(1, 11))
    assert listener.gaps.items == []


def test_a_newcomer_gets_what_is_said_from_its_welcome_on(open_server, socket_path):
    server = open_server()
    server.broadcast({"early": True})
    with Stranger(socket_path) as stranger:
        welcome = stranger.greet()
        assert (welcome["seq"], welcome["oldest"], welcome["resumed"], welcome["last_id"]) == (1, 1, False, 0)
        server.broadcast({"late": True})
        *_, message = stranger.hear_until("message")
        assert (message["seq"], message["payload"]) == (2, {"late": True})


def test_unacknowledged_messages_are_sent_again_with_the_same_ids(open_server, socket_path):
    """Seen from the wire: the server handles each id once, whatever is repeated."""
    server = open_server()
    handled = Arrivals()
    server.add_message_handler(handled)
    for repeat in range(1, 4):
        with Stranger(socket_path) as stranger:
            welcome = stranger.greet("same")
            assert welcome["last_id"] == 3 * (repeat > 1)
            stranger.say(*({"op": "message", "id": number, "payload": {"number": number}} for number in (1, 2, 3)))
            stranger.say({"op": "ping", "n": repeat})
            heard = stranger.hear_until("pong")
            if repeat == 1:
                heard += stranger.hear_until("ack") if {"op": "ack", "id": 3} not in heard else []
                assert {"op": "ack", "id": 3} in heard
    assert [payload["number"] for payload in handled.items] == [1, 2, 3]
    assert server.stats["duplicates"] == 6


def test_a_client_resends_under_the_same_ids_until_they_are_acknowledged(socket_path, open_client):
    """Seen from the wire: a server that hangs up before it acknowledges."""
    with StockListener(socket_path, "AF_UNIX", authkey=KEY) as listening:
        listener = open_client()
        assert listener.client.send_message({"number": 1})
        assert listener.client.send_message({"number": 2})
        for last_id, expected in ((0, [1, 2]), (1, [2])):
            with listening.accept() as connection:
                assert b'"op":"hello"' in connection.recv_bytes()
                connection.send_bytes(_welcome(last_id))
                ids = []
                while len(ids) < len(expected):
                    ids += [json.loads(line)["id"] for line in connection.recv_bytes().splitlines()]
                assert ids == expected
        listener.client.stop()


def _welcome(last_id):
    return (
        b'{"op":"welcome","protocol":1,"epoch":"e","seq":0,"oldest":1,"resumed":false,"heartbeat_s":5.0,'
        b'"max_frame_bytes":1048576,"last_id":%d}' % last_id
    )


def test_a_request_that_waited_on_an_older_connection_is_answered_or_fails(open_server, socket_path):
    """Its reply went to the older connection, which is dead; repeated on the newer one it must not end in an ack."""
    server = open_server()
    started, gate = threading.Event(), threading.Event()

    @server.add_message_handler
    def hold(payload):
        if payload["number"] == 1:
            started.set()
            gate.wait()

    server.on_request("ask")(lambda payload: {"answer": payload["number"]})
    count = 3000
    messages = [{"op": "message", "id": number, "payload": {"number": number}} for number in range(1, count)]
    request = {"op": "request", "id": count, "payload": {"type": "ask", "number": count}}
    with Stranger(socket_path) as older, Stranger(socket_path) as newer:
        older.greet("same")
        older.say(*messages, request)
        assert started.wait(WITHIN_S)
        newer.authenticate()
        newer.say({"op": "hello", "protocol": 1, "client": "same"})
        gate.set()
        [welcome] = newer.hear()
        if welcome["last_id"] < count:
            newer.say(*messages[welcome["last_id"] :], request)
            heard = []
            while not any(each["op"] == "reply" for each in heard):
                heard += newer.hear()
            assert any(each["op"] == "reply" and each["id"] == count for each in heard)


def test_a_client_that_others_have_pushed_out_of_memory_is_still_handled_once(open_server, proxy, socket_path):
    """The server remembers a limited number of clients; one that is connected is not forgotten."""
    server = open_server(limits=unhurried(max_known_clients=2))
    ends = Ends()
    server.add_message_handler(ends)
    listener = Listener(proxy.path, limits=QUICK, name="loyal").start().wait_live()
    try:
        for number in range(1, 4):
            listener.client.send_message({"from": "loyal", "number": number})
        ends.changed.wait_for(3)
        eventually(lambda: listener.client.stats["unacknowledged"] == 0)
        for number in range(5):
            with Stranger(socket_path) as stranger:
                stranger.greet(f"passing by {number}")
                stranger.say({"op": "message", "id": 1, "payload": {"from": "others", "number": number}})
                stranger.hear()  # the ack
        eventually(lambda: len(thread_names("ipc-peer")) == 1)  # who is remembered depends on who has left first
        proxy.cut()
        listener.states.wait_until(lambda states: [state.kind for state in states].count("live") >= 2)
        proxy.stall()  # it must not push its double out, in turn, before that has been welcomed
        with Stranger(socket_path) as double:  # the same client's repetition, as a lost ack would cause it
            welcome = double.greet(listener.client._hub.client_id)
            assert welcome["last_id"] == 3
    finally:
        listener.client.stop()
