"""Servers that break the rules: the client says bye, tries again, and never loses its head."""

import contextlib
import json
import os
import socket
import struct
import threading
import time
from multiprocessing.connection import answer_challenge, deliver_challenge

import pytest

from ipc import Limits, RequestError, client_session, socket_client
from tests.unit.ipc.channel import KEY, WITHIN_S, Arrivals, Listener, eventually, run_together
from tests.unit.ipc.stranger import Stranger

WELCOME = {
    "op": "welcome",
    "protocol": 1,
    "epoch": "e",
    "seq": 0,
    "oldest": 1,
    "resumed": False,
    "heartbeat_s": 5.0,
    "max_frame_bytes": 1 << 20,
    "last_id": 0,
}


class Accepted(Stranger):
    """A connection as the impostor sees it; it speaks for the server."""

    def __init__(self, sock):
        self.socket = sock
        sock.settimeout(WITHIN_S)

    def admit(self, **members):
        """Do the listener's part, read the hello, say welcome; return the hello."""
        deliver_challenge(self, KEY)
        answer_challenge(self, KEY)
        [hello] = self.hear()
        self.say(WELCOME | members)
        return hello

    def tell(self, seq, **payload):
        self.say({"op": "message", "seq": seq, "ts": time.time(), "payload": payload})

    def heard_bye(self):
        """Return the reason of the client's bye."""
        return self.hear_until("bye")[-1]["reason"]


class Impostor:
    """Listens where a server should. Each connection gets the next script; after the last the good one, for ever."""

    def __init__(self, path, *scripts):
        self._path, self._scripts = path, list(scripts)
        self.outcomes = Arrivals()
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(path)
        self._listening.listen(16)
        self._accepted = []
        self._thread = threading.Thread(target=self._accept_all, name="impostor", daemon=True)
        self._thread.start()

    def _accept_all(self):
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listening.accept()
                self._accepted.append(sock)
                script = self._scripts.pop(0) if self._scripts else be_good
                try:
                    self.outcomes(script(Accepted(sock)))
                except (OSError, EOFError, AssertionError) as error:
                    self.outcomes(error)
                sock.close()

    def close(self):
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        for sock in self._accepted:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        self._thread.join(WITHIN_S)
        self._listening.close()
        os.unlink(self._path)


def be_good(accepted):
    """Serve honestly, on the whole: welcome, one message, then listen to the end."""
    accepted.admit(resumed=True, seq=1000)
    accepted.say({"op": "gap", "from": 1, "to": 999})
    accepted.tell(1000, good=True)
    accepted.hear_to_the_end()
    return "good"


@pytest.fixture
def open_impostor(socket_path):
    impostors = []

    def start(*scripts):
        impostors.append(Impostor(socket_path, *scripts))
        return impostors[-1]

    yield start
    for impostor in impostors:
        impostor.close()


def speak(body):
    """Welcome, then say `body`, and return the client's bye."""

    def script(accepted):
        accepted.admit()
        accepted.send_bytes(body)
        return accepted.heard_bye()

    return script


def write(raw):
    def script(accepted):
        accepted.admit()
        accepted.write(raw)
        return accepted.heard_bye()

    return script


@pytest.mark.parametrize(
    ("script", "bye"),
    [
        (speak(b"garbage"), "not JSON"),
        (speak(b'{"op":"bye","reason":"\xff"}'), "not UTF-8"),
        (speak(b'{"op":"message","seq":1,"payload":{}}'), "not an object of protocol 1"),
        (speak(b'{"op":"message","seq":-1,"ts":1.0,"payload":{}}'), "not an object of protocol 1"),
        (speak(json.dumps(WELCOME).encode()), "only the first object may be a welcome"),
        (speak(b'{"op":"message","seq":1,"ts":1.0,"payload":{"a":' + b"[" * 20_000), "nested too deeply"),
        (write(struct.pack(">i", 0)), "a frame of 0 bytes"),
        (write(struct.pack(">i", -1)), "a frame of -1 bytes"),
        (write(struct.pack(">i", 2**31 - 1)), "a frame of 2147483647 bytes"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_no_honest_server_says_ends_that_connection_with_a_bye(
    open_impostor, open_client, script, bye, monkeypatch
):
    monkeypatch.setattr(socket_client, "_LASTING_S", float("inf"))  # each end is told, however long it took to come
    impostor = open_impostor(script)
    listener = open_client()
    [reason] = impostor.outcomes.wait_for(1)
    assert reason.startswith(bye)
    assert listener.wait_for_payloads(1) == [{"good": True}]  # it tries again
    waiting = [state for state in listener.states.items if state.kind == "waiting"]
    assert waiting[0].reason.startswith(bye)


def test_a_bye_waits_for_whoever_is_sending(open_impostor, open_client, monkeypatch):
    """A thread that holds the connection for a moment, to send, has not seen that there is a last word to say."""
    monkeypatch.setattr(client_session, "LAST_WORDS_S", WITHIN_S)
    is_held = threading.Event()

    def err(accepted):
        accepted.admit()
        is_held.wait(WITHIN_S)
        accepted.send_bytes(b"garbage")
        return accepted.heard_bye()

    impostor = open_impostor(err)
    connection = open_client().wait_live().client._hub.connection
    with connection._send_lock:
        is_held.set()
        eventually(lambda: connection.queue)
    [reason] = impostor.outcomes.wait_for(1)
    assert str(reason).startswith("not JSON")


def test_what_came_before_the_fault_was_handled_once(open_impostor, open_client):
    def tell_then_err(accepted):
        accepted.admit()
        accepted.tell(1, number=1)
        accepted.tell(2, number=2)
        accepted.send_bytes(b"garbage")
        accepted.heard_bye()

    hellos = Arrivals()

    def resume(accepted):
        hellos(accepted.admit(resumed=True))
        accepted.tell(3, number=3)
        accepted.hear_to_the_end()

    open_impostor(tell_then_err, resume)
    listener = open_client()
    assert listener.wait_for_payloads(3) == [{"number": 1}, {"number": 2}, {"number": 3}]
    assert hellos.items[0]["resume"] == {"epoch": "e", "seq": 2}


def test_messages_that_come_twice_are_handled_once_and_counted(open_impostor, open_client):
    def repeat(accepted):
        accepted.admit()
        for seq in (1, 2, 2, 1, 3, 3):
            accepted.tell(seq, number=seq)
        accepted.hear_to_the_end()

    open_impostor(repeat)
    listener = open_client()
    listener.deliveries.wait_for(3)
    eventually(lambda: listener.client.stats["duplicates"] == 3)
    assert listener.seqs == [1, 2, 3]


def test_a_gap_that_nobody_announced_is_found(open_impostor, open_client):
    def leave_out(accepted):
        accepted.admit()
        accepted.tell(1)
        accepted.tell(5)
        accepted.hear_to_the_end()

    open_impostor(leave_out)
    listener = open_client()
    listener.deliveries.wait_for(2)
    assert listener.gaps.items == [(2, 4)]
    assert listener.seqs == [1, 5]


def test_unknown_ops_of_a_newer_server_are_passed_over(open_impostor, open_client):
    def be_newer(accepted):
        accepted.admit(mood="good")
        accepted.say({"op": "dance"}, {"op": "ping", "n": 7, "mood": "good"})
        return accepted.hear_until("pong")[-1]

    impostor = open_impostor(be_newer)
    listener = open_client()
    assert impostor.outcomes.wait_for(1) == [{"op": "pong", "n": 7}]
    eventually(lambda: listener.client.stats["unknown_ops"] == 1)


def test_a_silent_server_is_pinged_and_a_pong_ends_the_silence(open_impostor, open_client):
    def answer_pings(accepted):
        accepted.admit()
        beats = []
        while beats.count(1) < 5:  # each silence is counted anew
            for ping in accepted.hear():
                assert ping["op"] == "ping"
                beats.append(ping["n"])
                accepted.say({"op": "pong", "n": ping["n"]})
        accepted.say({"op": "bye", "reason": "heard enough"})
        return beats + [each["n"] for each in accepted.hear_to_the_end()]

    impostor = open_impostor(answer_pings)
    listener = open_client(limits=Limits(heartbeat_s=0.05, retry_max_s=0.05))
    [beats] = impostor.outcomes.wait_for(1)
    listener.deliveries.wait_for(1)  # over the next connection
    kinds = listener.state_kinds[: listener.state_kinds.index("connecting", 1)]
    assert kinds[:3] == ["connecting", "resuming", "live"]
    assert ("stale" in kinds) == (max(beats) > 1)  # only where we were too slow to answer


# -- before the welcome ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("members", "kind", "reason"),
    [
        ({"op": "bye", "reason": "incompatible protocol 1, this is 2"}, "incompatible", "incompatible protocol 1"),
        ({"op": "bye", "reason": "this server has its 5 clients"}, "waiting", "this server has its 5 clients"),
        (WELCOME | {"protocol": 2}, "incompatible", "incompatible protocol: the server does not speak 1"),
        ({"op": "ping", "n": 1}, "incompatible", "incompatible protocol: the server does not speak 1"),
        ({"op": "howdy"}, "incompatible", "incompatible protocol: the server does not speak 1"),
        (WELCOME | {"seq": -1}, "waiting", "not an object of protocol 1"),
        (WELCOME | {"max_frame_bytes": 0}, "waiting", "not an object of protocol 1"),
        (WELCOME | {"heartbeat_s": 0}, "waiting", "not an object of protocol 1"),
    ],
    ids=str,
)
def test_a_server_that_does_not_welcome(open_impostor, open_client, members, kind, reason):
    def refuse(accepted):
        deliver_challenge(accepted, KEY)
        answer_challenge(accepted, KEY)
        accepted.hear()
        accepted.say(members)

    open_impostor(refuse, refuse)
    listener = open_client()
    listener.wait_for_payloads(1)
    failed = [state for state in listener.states.items if state.kind not in ("connecting", "resuming", "live")]
    assert [state.kind for state in failed[:2]] == [kind, kind]
    assert failed[0].reason.startswith(reason)
    assert [state.attempt for state in failed[:2]] == [1, 2]
    assert listener.state_kinds.index("live") > listener.state_kinds.index(kind)


def test_a_server_that_hangs_up_before_its_welcome(open_impostor, open_client):
    def leave(accepted):
        deliver_challenge(accepted, KEY)
        answer_challenge(accepted, KEY)
        accepted.hear()

    open_impostor(leave)
    listener = open_client()
    listener.wait_for_payloads(1)
    [failed] = [state for state in listener.states.items if state.kind == "waiting"]
    assert failed.reason == "the server hung up before its welcome"


def test_a_server_that_does_not_prove_itself_gets_nothing(open_impostor, open_client):
    """It accepts our key without knowing it, as anybody could who has taken the path."""
    heard = Arrivals()

    def pretend(accepted):
        accepted.send_bytes(b"#CHALLENGE#" + b"x" * 20)
        accepted.recv_bytes()
        accepted.send_bytes(b"#WELCOME#")
        accepted.recv_bytes()
        accepted.send_bytes(b"no idea, really.")
        with contextlib.suppress(EOFError, ConnectionResetError):
            while True:
                heard(accepted.recv_bytes())

    open_impostor(pretend)
    listener = open_client()
    listener.client.send_message({"secret": True})
    listener.wait_for_payloads(1)
    assert listener.state_kinds.count("unauthorized") == 1
    assert heard.items == [b"#FAILURE#"]


# -- the client's own messages -----------------------------------------------------------------------------------------


def test_what_is_too_large_for_the_server_is_dropped_with_an_error_and_not_for_ever(
    log_lines, open_impostor, socket_path
):
    """It was accepted before the server said how small its frames are."""

    def be_narrow(accepted):
        accepted.admit(max_frame_bytes=500)
        ids = []
        while 4 not in ids:
            ids += [each["id"] for each in accepted.hear() if each["op"] in ("message", "request")]
        return ids

    impostor = open_impostor(be_narrow)
    outcome = Arrivals()
    client = Listener(socket_path).client
    assert client.send_message({"number": 1})
    assert client.send_message({"text": "x" * 1000})
    client.begin_request({"text": "x" * 1000}, outcome)
    assert client.send_message({"number": 4})
    client.start()
    assert impostor.outcomes.wait_for(1) == [[1, 4]]
    assert outcome.wait_for(1)[0].code == "too_large"
    client.stop()
    assert [(line["first_id"], line["last_id"]) for line in log_lines.named("message_dropped")] == [(2, 3)]


def test_a_request_that_is_acknowledged_and_not_answered_has_failed(open_impostor, open_client):
    """Replies come before the ack that covers them: there will be none."""

    def acknowledge(accepted):
        accepted.admit()
        accepted.say({"op": "ack", "id": _next_request(accepted)})
        accepted.hear_to_the_end()

    open_impostor(acknowledge)
    client = open_client().wait_live().client
    with pytest.raises(RequestError) as caught:
        client.request({"type": "ask"}, timeout_s=WITHIN_S)
    assert caught.value.code == "disconnected"
    assert client.stats["unacknowledged"] == 0


def test_garbage_in_a_streak_of_requests_ends_the_request_and_the_connection(open_impostor, open_client):
    """Whichever thread reads it."""

    def answer_then_err(accepted):
        accepted.admit()
        for _ in range(50):
            accepted.say({"op": "reply", "id": _next_request(accepted), "payload": {}})
        _next_request(accepted)
        accepted.say({"op": "ack", "id": 51})
        accepted.send_bytes(b"garbage")
        return accepted.heard_bye()

    impostor = open_impostor(answer_then_err)
    client = open_client().client
    for _ in range(50):
        assert client.request({"type": "ask"}, timeout_s=WITHIN_S) == {}
    with pytest.raises(RequestError) as caught:
        client.request({"type": "ask"}, timeout_s=WITHIN_S)
    assert caught.value.code == "disconnected"
    assert impostor.outcomes.wait_for(1)[0].startswith("not JSON")


def test_a_bad_length_in_a_streak_of_requests_ends_it_too(open_impostor, open_client):
    def answer_then_err(accepted):
        accepted.admit()
        for _ in range(50):
            accepted.say({"op": "reply", "id": _next_request(accepted), "payload": {}})
        number = _next_request(accepted)
        body = json.dumps({"op": "reply", "id": number, "payload": {"last": True}}).encode()
        accepted.write(struct.pack(">i", len(body)) + body + struct.pack(">i", -5))
        return accepted.heard_bye()

    impostor = open_impostor(answer_then_err)
    client = open_client().client
    for _ in range(50):
        assert client.request({"type": "ask"}, timeout_s=WITHIN_S) == {}
    assert client.request({"type": "ask"}, timeout_s=WITHIN_S) == {"last": True}
    assert impostor.outcomes.wait_for(1)[0].startswith("a frame of -5 bytes")


def test_messages_in_a_streak_of_requests_wait_for_no_further_request(open_impostor, open_client):
    """A caller has just read its own reply; what comes next is for the client's thread, which takes it soon."""

    def answer_and_tell(accepted):
        accepted.admit()
        for seq in range(1, 201):
            accepted.say({"op": "reply", "id": _next_request(accepted), "payload": {}})
            accepted.tell(seq, at=time.monotonic())
        accepted.hear_to_the_end()

    open_impostor(answer_and_tell)
    listener = open_client(limits=Limits(heartbeat_s=1000.0))  # no ping fetches what was forgotten
    delays_s = []
    listener.client.add_message_handler(lambda payload: delays_s.append(time.monotonic() - payload["at"]))
    for number in range(1, 201):
        assert listener.client.request({"type": "ask"}, timeout_s=WITHIN_S) == {}
        listener.deliveries.wait_for(number)
    assert listener.seqs == list(range(1, 201))
    assert sorted(delays_s)[50] < 0.05  # a busy machine may hold up many of them


def _next_request(accepted):
    while True:
        for each in accepted.hear():
            if each["op"] == "request":
                return each["id"]


def test_many_callers_in_streaks_while_messages_come(open_impostor, open_client):
    """Replies in an order of their own, several to a frame, with messages between them."""

    def answer_in_bunches(accepted):
        accepted.admit()
        seq = answered = 0
        waiting = []
        while answered < 600:
            waiting += [each["id"] for each in accepted.hear() if each["op"] == "request"]
            objects = []
            for number in reversed(waiting):
                seq += 1
                objects.append({"op": "reply", "id": number, "payload": {"id": number}})
                objects.append({"op": "message", "seq": seq, "ts": 1.0, "payload": {}})
            answered += len(waiting)
            waiting = []
            if objects:
                accepted.say(*objects)
        accepted.hear_to_the_end()

    open_impostor(answer_in_bunches)
    listener = open_client().wait_live()
    replies = Arrivals()

    def ask():
        for _ in range(100):
            replies(listener.client.request({"type": "ask"}, timeout_s=WITHIN_S)["id"])

    run_together(*[ask] * 6)
    assert sorted(replies.items) == list(range(1, 601))
    listener.deliveries.wait_for(600)
    assert listener.seqs == list(range(1, 601))
