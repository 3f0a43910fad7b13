"""Strangers that break the rules, two hundred of each kind, with a good client alongside that must not notice."""

import contextlib
import gc
import itertools
import json
import os
import select
import struct
import subprocess
import sys
import time
from collections import Counter
from multiprocessing import AuthenticationError
from multiprocessing.connection import answer_challenge

import psutil
import pytest

from ipc import Limits
from ipc import connection as connection_module
from tests.unit.ipc.channel import KEY, Arrivals, eventually, run_together, thread_names, time_of, unhurried
from tests.unit.ipc.stranger import Stranger

MANY = 200
SMALL = unhurried(max_frame_bytes=1 << 16, batch_bytes=1 << 15)


class Bystander:
    """A good client, live by now, that talks with the server all the while."""

    def __init__(self, server, listener):
        self.server, self.listener = server, listener
        self.count = 0
        self._state_kinds = listener.state_kinds
        self._born = time.monotonic()

    @property
    def age_s(self):
        return time.monotonic() - self._born

    def converse(self, text=""):
        """Say something and wait for it: for less than the server waits for a stranger."""
        self.count += 1
        self.server.broadcast({"count": self.count, "text": text})
        self.listener.deliveries.wait_for(self.count)

    def has_noticed_nothing(self):
        self.converse()
        assert self.listener.state_kinds == self._state_kinds
        assert self.listener.seqs == list(range(1, self.count + 1))
        return True


pytestmark = pytest.mark.usefixtures("log_lines")


@pytest.fixture
def server(open_server):
    return open_server(limits=SMALL)


@pytest.fixture
def bystander(server, open_client):
    return Bystander(server, open_client(name="good").wait_live())


@pytest.fixture
def path(server):
    """Where a server is."""
    return server.address


def holdings():
    """Return the threads that serve a peer, and how many descriptors there are."""
    return thread_names("ipc-peer"), len(os.listdir("/proc/self/fd"))


def nothing_is_left(before):
    """Tell whether no more is held than before."""
    threads, descriptors = holdings()
    return threads == before[0] and descriptors <= before[1]


def assert_rejected(server, bystander, log_lines, before, expected):
    """Check what is left after `expected` rejections by kind: exact counts, few lines, and nothing else."""
    eventually(lambda: sum(server.stats["rejected"].values()) >= sum(expected.values()))
    eventually(lambda: nothing_is_left(before))
    assert server.stats["rejected"] == expected
    assert server.stats["peers"] == 1
    assert bystander.has_noticed_nothing()
    for kind, count in expected.items():
        lines = [line for line in log_lines.named("peer_rejected") if line["kind"] == kind]
        assert 1 <= len(lines) <= 2 + bystander.age_s  # one a second
        assert sum(line["count"] for line in lines) <= count


# -- strangers that break the rules ------------------------------------------------------------------------------------


def leave(stranger):
    stranger.socket.close()


def speak_http(stranger):
    stranger.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")


def answer_with_length(length):
    def answer(stranger):
        stranger.write(struct.pack(">i", length))

    return answer


def know_another_key(stranger):
    with contextlib.suppress(AuthenticationError):
        stranger.authenticate(b"another key of thirty-two bytes!")


def answer_rubbish(stranger):
    stranger.recv_bytes()
    stranger.send_bytes(b"x" * 16)


def challenge_wrongly(stranger):
    answer_challenge(stranger, KEY)
    stranger.send_bytes(b"not a challenge")


def leave_without_hello(stranger):
    stranger.authenticate()
    stranger.socket.close()


def hello_is(raw):
    def say(stranger):
        stranger.authenticate()
        stranger.send_bytes(raw)

    return say


def hello_has_length(length):
    def say(stranger):
        stranger.authenticate()
        stranger.write(struct.pack(">i", length) + b"x" * 100)

    return say


def after_hello(raw):
    def say(stranger):
        stranger.greet(client=str(id(stranger)))
        stranger.send_bytes(raw)

    return say


def length_after_hello(length):
    def say(stranger):
        stranger.greet(client=str(id(stranger)))
        stranger.write(struct.pack(">i", length) + b"x" * 100)

    return say


HELLO = b'{"op":"hello","protocol":1,"client":"c"}'
DEEP = b'{"op":"message","id":1,"payload":{"a":' + b"[" * 20_000 + b"]" * 20_000 + b"}}"
TOO_LONG = SMALL.max_frame_bytes + 1

MISDEEDS = {
    "leaves at once": ("handshake_failed", leave),
    "speaks HTTP": ("frame_length", speak_http),
    "answers with length 0": ("frame_length", answer_with_length(0)),
    "answers with length -1": ("frame_length", answer_with_length(-1)),
    "answers with length 257": ("frame_length", answer_with_length(257)),
    "answers with length 2**31-1": ("frame_length", answer_with_length(2**31 - 1)),
    "answers rubbish": ("unauthorized", answer_rubbish),
    "knows another key": ("unauthorized", know_another_key),
    "challenges wrongly": ("handshake_failed", challenge_wrongly),
    "leaves without hello": ("closed_early", leave_without_hello),
    "hello is garbage": ("bad_json", hello_is(b"\x00\xffgarbage")),
    "hello is not UTF-8": ("bad_utf8", hello_is(b'{"op":"hello","protocol":1,"client":"\xff"}')),
    "hello is a list": ("bad_field", hello_is(b"[]")),
    "hello lacks its client": ("bad_field", hello_is(b'{"op":"hello","protocol":1}')),
    "hello is a message": ("no_hello", hello_is(b'{"op":"message","id":1,"payload":{}}')),
    "hello is an unknown op": ("no_hello", hello_is(b'{"op":"howdy"}')),
    "hello is white space": ("no_hello", hello_is(b" \n ")),
    "speaks version 2": ("incompatible", hello_is(b'{"op":"hello","protocol":2,"client":"c"}')),
    "hello is deep": ("bad_json", hello_is(b'{"op":"hello","protocol":1,"client":' + b"[" * 20_000)),
    "hello has length 0": ("frame_length", hello_has_length(0)),
    "hello has length -1": ("frame_length", hello_has_length(-1)),
    "hello is too long": ("frame_length", hello_has_length(TOO_LONG)),
    "says hello twice in a frame": ("duplicate_hello", hello_is(HELLO + b"\n" + HELLO)),
    "says hello twice": ("duplicate_hello", after_hello(HELLO)),
    "says garbage": ("bad_json", after_hello(b"garbage")),
    "is not UTF-8": ("bad_utf8", after_hello(b'{"op":"bye","reason":"\xff\xfe"}')),
    "says a lone surrogate": ("bad_json", after_hello(b'{"op":"message","id":1,"payload":{"a":"\\ud800"}}')),
    "says NaN": ("bad_json", after_hello(b'{"op":"message","id":1,"payload":{"a":NaN}}')),
    "nests deeply": ("bad_json", after_hello(DEEP)),
    "nests deeply in an unknown op": ("bad_json", after_hello(DEEP.replace(b"message", b"mystery"))),
    "has a huge id": ("bad_field", after_hello(b'{"op":"message","id":9007199254740992,"payload":{}}')),
    "has a negative id": ("bad_field", after_hello(b'{"op":"message","id":-1,"payload":{}}')),
    "acknowledges 2**64": ("bad_field", after_hello(b'{"op":"ack","seq":18446744073709551616}')),
    "lacks a field": ("bad_field", after_hello(b'{"op":"request","id":1}')),
    "says a number": ("bad_field", after_hello(b"42")),
    "has length 0": ("frame_length", length_after_hello(0)),
    "has length -1": ("frame_length", length_after_hello(-1)),
    "is one byte too long": ("frame_length", length_after_hello(TOO_LONG)),
    "has length 2**31-1": ("frame_length", length_after_hello(2**31 - 1)),
    "has length -2**31": ("frame_length", length_after_hello(-(2**31))),
}


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("kind", "misdeed"), MISDEEDS.values(), ids=MISDEEDS.keys())
def test_two_hundred_strangers_are_told_off_and_leave_no_trace(path, server, bystander, log_lines, kind, misdeed):
    before = holdings()
    for number in range(MANY):
        with Stranger(path) as stranger:
            misdeed(stranger)
            if stranger.socket.fileno() >= 0:
                *_, bye = stranger.hear_to_the_end()
                assert bye["op"] == "bye"
                assert bye["reason"]
        if number % 50 == 0:
            bystander.converse()
    assert_rejected(server, bystander, log_lines, before, {kind: MANY})


# -- strangers that take their time ------------------------------------------------------------------------------------


def wait_cut(strangers):
    """Wait until the server has hung up on each."""
    for stranger in strangers:
        stranger.hear_to_the_end()


@pytest.fixture
def strangers(socket_path):
    """Connect strangers: `strangers(200)`. They leave at the end."""
    with contextlib.ExitStack() as stack:
        yield lambda count: [stack.enter_context(Stranger(socket_path)) for _ in range(count)]


def test_the_silent_are_cut_at_the_limit(open_server, open_client, log_lines, strangers):
    server = open_server(limits=Limits(max_frame_bytes=1 << 16))
    bystander = Bystander(server, open_client(name="good").wait_live())
    eventually(lambda: len(thread_names("ipc-peer")) == 1)
    rejected = Counter(server.stats["rejected"])  # on a busy machine, the bystander's first attempts
    before = holdings()
    began = time.monotonic()
    silent = strangers(MANY)
    wait_cut(silent)
    assert 1.9 < time.monotonic() - began < 15.0
    for stranger in silent:
        stranger.socket.close()
    assert_rejected(server, bystander, log_lines, before, rejected + Counter(handshake_timeout=MANY))


def test_a_good_client_is_live_while_many_are_silent(server, bystander, log_lines, strangers, open_client):
    before = holdings()
    silent = strangers(MANY)
    newcomer = open_client(name="newcomer")
    newcomer.wait_live()
    bystander.converse()
    assert server.stats["rejected"] == {}  # the silent are all still there
    newcomer.client.stop()
    for stranger in silent:
        stranger.socket.close()
    assert_rejected(server, bystander, log_lines, before, {"handshake_failed": MANY})


def test_a_newcomer_is_live_at_once_among_hundreds_that_are_silent_or_drip(open_server, strangers, open_client):
    """The best of a few newcomers counts: a busy machine may hold one up."""
    open_server(limits=unhurried(max_unauthenticated=1000))
    took_s = []
    crowd = strangers(400)
    for number, drop in enumerate(struct.pack(">i", 200) + b" "):
        for stranger in crowd[200:]:
            drips(stranger, bytes([drop]))
        took_s.append(time_of(lambda name=f"newcomer {number}": open_client(name=name).wait_live()))
    assert min(took_s) < 0.25, took_s


@pytest.fixture
def strict_server(open_server):
    """A server with little time for strangers, which is enough for one by one to authenticate."""
    return open_server(limits=Limits(handshake_s=4.0))


def test_the_silent_after_the_handshake_are_cut_too(strict_server, open_client, log_lines, strangers):
    server, bystander = strict_server, Bystander(strict_server, open_client().wait_live())
    before = holdings()
    silent = [strangers(1)[0].authenticate() for _ in range(50)]
    for stranger in silent:
        assert stranger.hear_to_the_end() == [{"op": "bye", "reason": "no hello within 4.0 s"}]
        stranger.socket.close()
    assert_rejected(server, bystander, log_lines, before, {"hello_timeout": 50})


@pytest.mark.parametrize("is_authenticated", [False, True], ids=["before the handshake", "in hello"])
def test_those_that_drip_are_cut_at_the_limit(strict_server, open_client, log_lines, strangers, is_authenticated):
    """One byte, and another before anybody could lose patience: it is the whole that has a limit."""
    server, bystander = strict_server, Bystander(strict_server, open_client().wait_live())
    before = holdings()
    began = time.monotonic()
    dripping = []
    for _ in range(50):
        dripping += strangers(1)
        dripping[-1].authenticate() if is_authenticated else dripping[-1].recv_bytes()
    drops = itertools.chain(struct.pack(">i", 200), itertools.repeat(ord(" ")))
    left = {stranger.socket: stranger for stranger in dripping}
    while left:
        assert time.monotonic() - began < 20.0
        ended, _, _ = select.select(list(left), [], [], 0.1)  # all they can hear is the end
        drop = bytes([next(drops)])
        left = {sock: stranger for sock, stranger in left.items() if sock not in ended and drips(stranger, drop)}
    assert time.monotonic() - began > 3.9
    for stranger in dripping:
        stranger.socket.close()
    kind = "hello_timeout" if is_authenticated else "handshake_timeout"
    assert_rejected(server, bystander, log_lines, before, {kind: 50})


def drips(stranger, drop):
    try:
        stranger.socket.send(drop)
    except OSError:
        return False
    return True


def test_one_stranger_too_many_cuts_the_first(open_server, open_client, socket_path, log_lines):
    """However many come and keep silent, there is room for somebody good."""
    server = open_server(limits=unhurried(max_unauthenticated=10))
    bystander = Bystander(server, open_client().wait_live())
    before = holdings()
    with contextlib.ExitStack() as stack:
        silent = [stack.enter_context(Stranger(socket_path)) for _ in range(30)]
        wait_cut(silent[:20])
        newcomer = open_client()
        newcomer.wait_live()
        newcomer.client.stop()
        wait_cut(silent[20:21])
        # Whoever is cut hears of it before the thread that served it has counted it.
        eventually(lambda: server.stats["rejected"] == {"handshake_failed": 21})
    assert_rejected(server, bystander, log_lines, before, {"handshake_failed": 30})


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_another_user_is_turned_away_before_a_byte_is_exchanged(path, server, bystander, log_lines, socket_dir):
    socket_dir.chmod(0o711)
    os.chmod(path, 0o777)  # noqa: S103 - so that only the check of the uid is in the way
    before = holdings()
    code = f"""
import os, socket, struct, json
os.setgroups([]); os.setgid(65534); os.setuid(65534)
first = set()
for _ in range({MANY}):
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.connect({path!r})
        heard = b""
        while piece := stranger.recv(4096):
            heard += piece
        (length,) = struct.unpack(">i", heard[:4])
        assert len(heard) == 4 + length, heard
        first.add(json.loads(heard[4:])["op"])
print(first)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "{'bye'}\n", done.stderr
    assert_rejected(server, bystander, log_lines, before, {"wrong_uid": MANY})


@pytest.mark.timeout(600)
def test_a_thousand_of_each_leave_no_memory_behind(path, server, bystander):
    """Once everything has been allocated that is kept for good, more strangers take no more.

    On a busy machine many may be served at once for the first time late: then what that takes is kept for good too.
    """
    before = holdings()
    kinds = [MISDEEDS[name] for name in ("leaves at once", "knows another key", "is one byte too long", "nests deeply")]

    def misbehave(count):
        for _ in range(count):
            for _kind, misdeed in kinds:
                with Stranger(path) as stranger:
                    misdeed(stranger)
                    if stranger.socket.fileno() >= 0:
                        stranger.hear_to_the_end()
        eventually(lambda: nothing_is_left(before))
        gc.collect()
        return psutil.Process().memory_info().rss

    used_bytes = [misbehave(300)]
    while len(used_bytes) < 4:
        used_bytes.append(misbehave(1000))
        if used_bytes[-1] - used_bytes[-2] < 8 << 20:
            break
    assert used_bytes[-1] - used_bytes[-2] < 8 << 20, used_bytes
    count = 300 + 1000 * (len(used_bytes) - 1)
    assert server.stats["rejected"] == {kind: count for kind, _ in kinds}
    assert bystander.has_noticed_nothing()


def test_all_kinds_at_once(path, server, bystander, log_lines):
    """Threads of strangers of every kind; the counts are exact."""
    before = holdings()
    kinds = list(MISDEEDS.values())

    def misbehave(share):
        for _kind, misdeed in share:
            with Stranger(path) as stranger:
                misdeed(stranger)
                if stranger.socket.fileno() >= 0:
                    stranger.hear_to_the_end()

    run_together(*(lambda first=first: misbehave(kinds[first::8] * 5) for first in range(8)), bystander.converse)
    assert_rejected(server, bystander, log_lines, before, Counter(kind for kind, _ in kinds * 5))


# -- after hello -------------------------------------------------------------------------------------------------------


def test_a_frame_that_drips_is_cut_at_its_limit(open_server, open_client, socket_path):
    server = open_server(limits=unhurried(frame_s=0.5, heartbeat_s=0.2))
    bystander = Bystander(server, open_client(limits=Limits(heartbeat_s=5.0)).wait_live())
    with Stranger(socket_path) as dripping, Stranger(socket_path) as stuck:
        dripping.greet("dripping")
        stuck.greet("stuck")
        began = time.monotonic()
        stuck.write(struct.pack(">i", 100) + b"{")
        dripping.write(struct.pack(">i", 10_000))
        while drips(dripping, b" ") and time.monotonic() - began < 10.0:
            select.select([], [], [], 0.02)
        assert 0.4 < time.monotonic() - began < 10.0
        assert stuck.hear_until("bye")[-1]["reason"] == "a frame was not complete after 0.5 s"
    eventually(lambda: server.stats["rejected"] == {"frame_timeout": 2})
    assert bystander.has_noticed_nothing()


class Clock:
    """A clock that only the test moves on."""

    def __init__(self):
        self.now = 100.0

    def monotonic(self):
        return self.now


def test_many_frames_one_after_the_other_are_no_slow_frame(open_server, socket_path, monkeypatch):
    """Each read ends within a frame; the limit is on one frame, not on the stream."""
    clock = Clock()
    monkeypatch.setattr(connection_module, "time", clock)
    server = open_server(limits=unhurried(frame_s=0.3))
    handled = Arrivals()
    server.add_message_handler(handled)
    with Stranger(socket_path) as stranger:
        stranger.greet()
        stranger.write(b"\0\0")
        for number in range(1, 101):
            clock.now += 0.2
            body = json.dumps({"op": "message", "id": number, "payload": {}}).encode()
            stranger.write(struct.pack(">i", len(body))[2:] + body + b"\0\0")
            handled.wait_for(number)
        assert server.stats["rejected"] == {}


def test_unknown_ops_and_fields_are_passed_over_and_counted(server, path, bystander):
    with Stranger(path) as stranger:
        stranger.greet()
        stranger.say({"op": "dance"}, {"op": "ping", "n": 7, "mood": "good"}, {"op": "sing", "n": "x"})
        assert stranger.hear_until("pong")[-1] == {"op": "pong", "n": 7}
        assert server.stats["unknown_ops"] == 2
    assert bystander.has_noticed_nothing()


def test_one_that_asks_and_does_not_read_is_cut(open_server, open_client, socket_path):
    server = open_server()
    server.on_request("big")(lambda _payload: {"text": "x" * 500_000})
    bystander = Bystander(server, open_client().wait_live())
    before = holdings()
    with Stranger(socket_path) as greedy:
        greedy.greet("greedy")
        with contextlib.suppress(OSError):
            for number in itertools.count(1):
                greedy.say({"op": "request", "id": number, "payload": {"type": "big"}})
    eventually(lambda: server.stats["rejected"] == {"control_overflow": 1})
    eventually(lambda: nothing_is_left(before))
    assert bystander.has_noticed_nothing()


def test_a_newer_connection_of_the_same_client_ends_the_older(server, path, bystander):
    with Stranger(path) as older, Stranger(path) as newer:
        older.greet("same")
        newer.greet("same")
        assert older.hear_to_the_end()[-1]["op"] == "bye"
        server.broadcast({"for": "both"})
        bystander.count += 1
        assert newer.hear_until("message")[-1]["payload"] == {"for": "both"}
    assert bystander.has_noticed_nothing()


def test_a_client_that_comes_again_needs_no_room_beside_itself(open_server, socket_path):
    server = open_server(limits=unhurried(max_peers=1))
    handled = Arrivals()
    server.add_message_handler(handled)
    with Stranger(socket_path) as older, Stranger(socket_path) as newer:
        older.greet("same")
        newer.greet("same")
        assert older.hear_to_the_end()[-1]["op"] == "bye"
        newer.say({"op": "message", "id": 1, "payload": {"from": "newer"}})
        assert handled.wait_for(1) == [{"from": "newer"}]
        with Stranger(socket_path) as other:
            other.authenticate()
            other.say({"op": "hello", "protocol": 1, "client": "other"})
            assert "has its 1 clients" in other.hear_to_the_end()[-1]["reason"]
    assert server.stats["rejected"] == {"no_room": 1}


def test_one_client_too_many_is_never_live(open_server, open_client):
    """It is told why before it could take itself for connected."""
    open_server(limits=unhurried(max_peers=1))
    open_client(name="first").wait_live()
    late = open_client(name="late")
    states = late.states.wait_until(lambda states: any("has its 1 clients" in state.reason for state in states))
    assert "live" not in [state.kind for state in states]


def test_one_that_takes_only_the_smallest_frames_is_told_what_it_misses(server, path, bystander):
    with Stranger(path) as stranger:
        stranger.authenticate()
        stranger.say({"op": "hello", "protocol": 1, "client": "narrow", "max_frame_bytes": 1024})
        assert stranger.hear()[0]["op"] == "welcome"
        for _ in range(3):
            bystander.converse("x" * 1024)
        missed = []
        while len(missed) < 3:
            heard = stranger.hear_until("gap")[-1]
            missed += range(heard["from"], heard["to"] + 1)
        assert missed == [1, 2, 3]
    assert bystander.has_noticed_nothing()
    assert server.stats["rejected"] == {}


def test_a_limit_that_nothing_fits_into_is_refused(path, bystander):
    with Stranger(path) as stranger:
        stranger.authenticate()
        stranger.say({"op": "hello", "protocol": 1, "client": "mouse", "max_frame_bytes": 1023})
        [bye] = stranger.hear_to_the_end()
        assert "1024" in bye["reason"]
        assert "max_frame_bytes" in bye["reason"]
    assert bystander.has_noticed_nothing()


def test_one_that_comes_back_to_a_long_log_that_it_cannot_take_is_told_so_in_a_few_words(
    server, path, bystander, log_lines
):
    """Once, not once a message: the line would be written as often, and every other client would wait for it."""
    for _ in range(500):
        bystander.converse("x" * 1024)
    epoch = server.stats["epoch"]
    with Stranger(path) as stranger:
        stranger.authenticate()
        resume = {"epoch": epoch, "seq": 0}
        stranger.say({"op": "hello", "protocol": 1, "client": "narrow", "max_frame_bytes": 1024, "resume": resume})
        gaps = []
        while not gaps or gaps[-1]["to"] < 500:
            gaps.append(stranger.hear_until("gap")[-1])
        stranger.say({"op": "ack", "seq": 500})
        assert [gap["from"] for gap in gaps] == [1, *(gap["to"] + 1 for gap in gaps[:-1])]
        assert len(gaps) < 5
        log_lines.wait_for_event("gap_sent")
    log_lines.wait_until(lambda lines: any(line["event"] == "peer_left" for line in lines))
    lines = log_lines.named("gap_sent")
    assert (lines[0]["first"], lines[-1]["last"], sum(line["count"] for line in lines)) == (1, 500, 500)
    assert len(lines) <= 2
    assert bystander.has_noticed_nothing()


def test_one_client_too_many_is_told_so(open_server, open_client, socket_path):
    server = open_server(limits=unhurried(max_peers=1))
    bystander = Bystander(server, open_client().wait_live())
    before = holdings()
    for _ in range(20):
        with Stranger(socket_path) as late:
            late.authenticate()
            late.say({"op": "hello", "protocol": 1, "client": "late"})
            assert "has its 1 clients" in late.hear_to_the_end()[-1]["reason"]
    eventually(lambda: nothing_is_left(before))
    assert bystander.has_noticed_nothing()
