"""A connection over a pair of sockets: what goes out when and how, what comes in, and how it ends."""

import json
import socket
import struct
import threading
import time
import tracemalloc

import pytest

from ipc import connection as connection_module
from ipc import locks
from ipc.connection import Connection
from ipc.errors import ProtocolError
from ipc.framing import FrameDecoder, frame
from ipc.limits import Limits
from ipc.sequence import Lapped, Sequence
from tests.unit.ipc.channel import WITHIN_S, eventually, run_together, thread_names

MAX_BYTES = 1 << 20


class Wire:
    """A connection of ours and the bare socket at its other end."""

    def __init__(self, source=None, limits=None, cursor=0, max_frame_bytes=MAX_BYTES):
        self.source = source if source is not None else Sequence()
        self.sent, self.skipped = [], []
        ours, self.theirs = socket.socketpair()
        self.theirs.settimeout(WITHIN_S)
        self._decoder = FrameDecoder(1 << 26)
        self.connection = Connection(
            ours,
            self.source,
            cursor,
            limits or Limits(),
            lambda encoded, count: self.sent.append((encoded, count)),
            self._skip,
            max_frame_bytes,
        )

    def _skip(self, first, last):
        self.skipped.append((first, last))
        return b'{"gap":[%d,%d]}' % (first, last)

    def frames(self, count):
        """Return the next frames that come out at the other end."""
        frames = []
        while len(frames) < count:
            received = self.theirs.recv_into(self._decoder.space())
            assert received
            frames += [bytes(body) for body in self._decoder.received(received)]
        return frames

    def objects(self, count):
        """Return the next objects that come out, from however many frames."""
        objects = []
        while len(objects) < count:
            objects += [json.loads(line) for body in self.frames(1) for line in body.split(b"\n")]
        return objects

    def close(self):
        self.connection.close()
        self.theirs.close()


@pytest.fixture
def wire():
    wire = Wire()
    yield wire
    wire.close()


@pytest.fixture
def open_wire():
    wires = []

    def start(**options):
        wires.append(Wire(**options))
        return wires[-1]

    yield start
    for wire in wires:
        wire.close()


# -- sending -----------------------------------------------------------------------------------------------------------


def test_a_flush_sends_what_is_past_the_cursor_once(wire):
    wire.source.push(b"1")
    wire.connection.flush()
    assert wire.frames(1) == [b"1"]
    wire.source.push(b"2")
    wire.source.push(b"3")
    wire.connection.flush()
    wire.connection.flush()
    assert wire.frames(1) == [b"2\n3"]
    assert wire.sent == [(b"1", 1), (b"2\n3", 2)]
    assert (wire.connection.cursor, wire.connection.counters.sent) == (3, 3)
    assert wire.connection.counters.sent_bytes == 4 + 1 + 4 + 3
    assert thread_names("MainThread-writer") == []  # no thread for what the socket takes at once


def test_a_flush_with_nothing_to_send_sends_nothing(wire):
    wire.connection.flush()
    wire.connection.send_control(b"c")
    assert wire.frames(1) == [b"c"]


def test_control_goes_first(open_wire):
    wire = open_wire()
    wire.source.push(b"message")
    with wire.connection.first(b"welcome"):
        wire.connection.send_control(b"control")
        wire.connection.flush()
    assert b"\n".join(wire.frames(2)).split(b"\n") == [b"welcome", b"control", b"message"]


def test_a_full_socket_is_left_to_a_writer_and_nobody_waits(wire):
    """Whoever waited would wait for ever: nobody reads before all has been said."""
    count = 200
    for number in range(count):
        wire.source.push(b'{"number":%d,"text":"%b"}' % (number, b"x" * 50_000))
        wire.connection.flush()
    assert not wire.connection.wait_until_sent(0.0)
    assert [each["number"] for each in wire.objects(count)] == list(range(count))
    assert wire.connection.wait_until_sent(WITHIN_S)
    assert wire.connection.counters.sent == count


def test_after_the_writer_has_caught_up_callers_send_again(wire):
    for round_ in range(5):
        for _ in range(100):
            wire.source.push(b'{"text":"%b"}' % (b"x" * 50_000))
        wire.connection.flush()
        wire.objects(100)
        assert wire.connection.wait_until_sent(WITHIN_S)
        wire.source.push(b'{"round":%d}' % round_)
        wire.connection.flush()
        assert wire.objects(1) == [{"round": round_}]


def test_news_that_comes_from_all_sides_is_not_forgotten(open_wire):
    """Threads push and flush; the last flush may find another thread at work, which then sees its news too."""
    wire = open_wire(limits=Limits(control_frames=1 << 20))  # a slow reader is no reason to refuse one here
    lock = threading.Lock()
    per_thread, threads = 400, 6

    def talk():
        for _ in range(per_thread):
            with lock:
                wire.source.push(b'{"number":%d}' % wire.source.newest)
            wire.connection.flush()
            wire.connection.send_control(b'{"control":1}')

    heard = []
    reader = threading.Thread(target=lambda: heard.extend(wire.objects(2 * per_thread * threads)))
    reader.start()
    run_together(*[talk] * threads)
    reader.join()
    assert [each["number"] for each in heard if "number" in each] == list(range(per_thread * threads))
    assert sum("control" in each for each in heard) == per_thread * threads


def test_frames_stay_within_the_smaller_limit(open_wire):
    wire = open_wire(limits=Limits(max_frame_bytes=1000, batch_bytes=300), max_frame_bytes=500)
    for number in range(100):
        wire.source.push(b'{"number":%d,"text":"%b"}' % (number, b"x" * 80))
    for _ in range(30):
        wire.connection.send_control(b'{"number":-1,"text":"%b"}' % (b"c" * 40))
    wire.connection.flush()
    frames = []
    while sum(frame.count(b'"number"') for frame in frames) < 130:
        frames += wire.frames(1)
    assert max(map(len, frames)) <= 300
    assert len(frames) < 100  # they are batches


def test_a_message_larger_than_the_peer_takes_is_passed_over(open_wire):
    wire = open_wire(max_frame_bytes=100)
    for text in (b'{"n":1}', b'{"n":"%b"}' % (b"x" * 200), b'{"n":3}'):
        wire.source.push(text)
    wire.connection.flush()
    assert wire.objects(3) == [{"n": 1}, {"gap": [2, 2]}, {"n": 3}]
    assert wire.skipped == [(2, 2)]


def test_messages_that_are_too_large_are_passed_over_as_one_run(open_wire):
    wire = open_wire(max_frame_bytes=100)
    wire.source.push(b'{"n":1}')
    for _ in range(50):
        wire.source.push(b'{"n":"%b"}' % (b"x" * 200))
    wire.source.push(b'{"n":52}')
    wire.connection.flush()
    assert wire.objects(3) == [{"n": 1}, {"gap": [2, 51]}, {"n": 52}]
    assert wire.skipped == [(2, 51)]


def test_a_writer_that_cannot_be_started_ends_the_connection(wire, monkeypatch):
    """The other end comes again and is sent the rest; nobody waits for a writer that is not there."""

    def refuse(_thread):
        raise RuntimeError("can't start new thread")

    for _ in range(100):
        wire.source.push(b"x" * 100_000)
    monkeypatch.setattr(threading.Thread, "start", refuse)
    wire.connection.flush()
    assert wire.connection.wait_until_sent(WITHIN_S)
    while wire.theirs.recv(1 << 20):
        pass  # what the socket held, then the end
    assert wire.connection.receive() is None


class Interrupted(Exception):
    """What a signal handler raises; as likely a KeyboardInterrupt."""


class Interrupting:
    """A socket or a lock; a signal comes at once after the call `after` has been made."""

    def __init__(self, inner, after):
        self._inner = inner
        self._after = after
        self.is_due = True

    def __getattr__(self, name):
        call = getattr(self._inner, name)
        if name != self._after:
            return call

        def call_and_interrupt(*arguments, **options):
            done = call(*arguments, **options)
            if self.is_due:
                self.is_due = False
                raise Interrupted
            return done

        return call_and_interrupt

    def __enter__(self):
        return self._inner.__enter__()

    def __exit__(self, *raised):
        return self._inner.__exit__(*raised)


@pytest.mark.parametrize(("what", "call"), [("_socket", "send"), ("_send_lock", "acquire")])
def test_an_interrupt_in_the_middle_of_sending_ends_the_connection_and_holds_nobody_up(wire, what, call, monkeypatch):
    """What has gone out is not known then: the other end comes again and says what it has."""
    monkeypatch.setattr(locks, "_OTHERS_LET_GO_S", 0.05)
    setattr(wire.connection, what, Interrupting(getattr(wire.connection, what), call))
    wire.source.push(b"1")
    with pytest.raises(Interrupted):
        wire.connection.flush()
    assert wire.connection.receive() is None
    assert not wire.connection._send_lock.locked()


def test_what_is_sent_at_once_is_bounded_in_bytes(open_wire):
    """It stays in memory for as long as the peer does not read."""
    wire = open_wire(limits=Limits(batch_bytes=256 << 10))
    for _ in range(100):
        wire.source.push(b"x" * 100_000)
    largest = max(len(wire.connection._next_frames(8)) for _ in range(10))
    assert 256 << 10 < largest < 513 << 10


class Forgetful(Sequence):
    """A source that forgets its beginning while it is read."""

    def __init__(self, forget_at):
        super().__init__()
        self.forget_at = forget_at

    def read(self, after, max_bytes):
        if self.forget_at and self.forget_at[0][0] <= after:
            self.drop_through(self.forget_at.pop(0)[1])
            raise Lapped
        return super().read(after, max_bytes)


def test_what_the_source_has_forgotten_is_announced_and_the_rest_is_sent(open_wire):
    """Also when the announcement is nothing, as for a client's own outbox: what comes behind it still goes out."""
    for notice, expected in ((True, [{"gap": [1, 4]}, {"n": 5}, {"n": 6}]), (False, [{"n": 5}, {"n": 6}])):
        wire = open_wire(source=Forgetful([(0, 4)]))
        if not notice:
            wire.connection._on_skipped = lambda first, last, wire=wire: wire.skipped.append((first, last)) or b""
        for number in range(1, 7):
            wire.source.push(b'{"n":%d}' % number)
        wire.connection.flush()
        assert wire.objects(len(expected)) == expected
        assert wire.skipped == [(1, 4)]
        assert wire.connection.counters.sent == 2


def test_too_much_control_is_refused_until_it_is_read(open_wire):
    wire = open_wire(limits=Limits(control_frames=50))
    text = b'{"text":"%b"}' % (b"x" * 100_000)
    accepted = 0
    while wire.connection.send_control(text):
        accepted += 1
        assert accepted < 500
    assert wire.connection.queue >= 50
    wire.objects(accepted)
    eventually(lambda: wire.connection.queue == 0)
    assert wire.connection.send_control(b'{"room":"again"}')
    assert wire.objects(1) == [{"room": "again"}]


def test_bytes_of_control_are_bounded_too(open_wire):
    wire = open_wire(limits=Limits(control_bytes=5 << 20))
    text = b"x" * 1_000_000
    accepted = 0
    while wire.connection.send_control(text):
        accepted += 1
        assert accepted < 100
    assert accepted < 30


def test_a_source_that_fails_in_the_callers_thread_raises_there_and_loses_nothing(open_wire):
    class Failing(Sequence):
        fails = False

        def read(self, after, max_bytes):
            if self.fails:
                raise OSError("disk")
            return super().read(after, max_bytes)

    wire = open_wire(source=Failing())
    wire.source.push(b'{"n":1}')
    wire.source.fails = True
    with pytest.raises(OSError, match="disk"):
        wire.connection.flush()
    wire.source.fails = False
    wire.connection.flush()
    assert wire.objects(1) == [{"n": 1}]


def test_a_source_that_fails_in_the_writer_ends_the_connection(open_wire):
    class Failing(Sequence):
        def read(self, after, max_bytes):
            if threading.current_thread().name.endswith("writer"):
                raise OSError("disk")
            return super().read(after, max_bytes)

    wire = open_wire(source=Failing())
    for _ in range(100):
        wire.source.push(b"x" * 100_000)
    wire.connection.flush()
    while wire.theirs.recv(1 << 20):
        pass  # what the socket held, then the end


# -- receiving ---------------------------------------------------------------------------------------------------------


def test_frames_come_in_as_they_are(wire):
    wire.theirs.sendall(frame(b"1") + frame(b"22") + frame(b"333")[:5])
    assert [bytes(body) for body in wire.connection.receive()] == [b"1", b"22"]
    wire.theirs.sendall(frame(b"333")[5:])
    assert [bytes(body) for body in wire.connection.receive()] == [b"333"]
    assert wire.connection.counters.received_bytes == 5 + 6 + 7


def test_the_end_is_none(wire):
    wire.theirs.sendall(frame(b"last"))
    wire.theirs.shutdown(socket.SHUT_WR)
    assert [bytes(body) for body in wire.connection.receive()] == [b"last"]
    assert wire.connection.receive() is None


def test_a_bad_length_is_an_error_after_what_came_before_it(wire):
    wire.theirs.sendall(frame(b"good") + struct.pack(">i", -1))
    assert [bytes(body) for body in wire.connection.receive()] == [b"good"]
    with pytest.raises(ProtocolError, match="a frame of -1 bytes"):
        wire.connection.receive()


def test_silence_is_counted_in_heartbeats_and_ends_with_a_byte(open_wire):
    wire = open_wire(limits=Limits(heartbeat_s=0.05))
    began = time.monotonic()
    for beats in (1, 2, 3):
        assert wire.connection.receive() == []
        assert wire.connection.silent_beats == beats
    assert 0.14 < time.monotonic() - began < 10.0
    wire.theirs.sendall(b"\0")
    assert wire.connection.receive() == []
    assert wire.connection.silent_beats == 0


def test_soon_is_a_few_milliseconds_and_no_heartbeat(open_wire):
    wire = open_wire(limits=Limits(heartbeat_s=1000.0))
    assert wire.connection.receive(soon=True) == []
    assert wire.connection.silent_beats == 0


def test_after_soon_comes_the_heartbeat_again(open_wire):
    wire = open_wire(limits=Limits(heartbeat_s=0.2))
    began = time.monotonic()
    assert wire.connection.receive(soon=True) == []
    assert wire.connection.silent_beats == 0
    while not wire.connection.silent_beats:
        assert wire.connection.receive() == []
    assert time.monotonic() - began > 0.19  # back to its patience


def test_a_frame_has_a_limit_from_its_first_byte_to_its_last(open_wire):
    wire = open_wire(limits=Limits(heartbeat_s=0.05, frame_s=0.3))
    wire.theirs.sendall(frame(b"whole") + struct.pack(">i", 1_000_000))
    assert [bytes(body) for body in wire.connection.receive()] == [b"whole"]
    began = time.monotonic()
    error = None
    while error is None:
        wire.theirs.sendall(b" ")
        try:
            wire.connection.receive()
        except ProtocolError as caught:
            error = caught
    assert error.kind == "frame_timeout"
    assert 0.25 < time.monotonic() - began < 10.0


def test_time_in_which_we_do_not_read_is_not_the_peers(open_wire, monkeypatch):
    """The rest of a frame waits in the socket while a handler works on the frame before it."""

    class Clock:
        now = 100.0

        def monotonic(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(connection_module, "time", clock)
    wire = open_wire(limits=Limits(frame_s=0.5))
    wire.theirs.sendall(frame(b"whole") + struct.pack(">i", 10) + b"a")
    assert [bytes(body) for body in wire.connection.receive()] == [b"whole"]
    clock.now += 30.0
    wire.theirs.sendall(b"b")
    assert wire.connection.receive() == []
    clock.now += 1.0
    wire.theirs.sendall(b"c")
    with pytest.raises(ProtocolError, match=r"not complete after 0\.5 s"):
        wire.connection.receive()


def test_shutdown_from_another_thread_ends_a_wait(wire):
    outcome = []
    reader = threading.Thread(target=lambda: outcome.append(wire.connection.receive()))
    reader.start()
    wire.connection.shutdown()
    reader.join(WITHIN_S)
    assert outcome == [None]
    wire.connection.flush()
    wire.connection.send_control(b"too late")


def test_close_ends_a_writer_that_waits_for_room(wire):
    for _ in range(100):
        wire.source.push(b"x" * 100_000)
    wire.connection.flush()
    assert thread_names("MainThread-writer")
    wire.connection.close()  # waits for the writer, which would wait for ever
    assert thread_names("MainThread-writer") == []
    wire.connection.close()


def test_a_closed_connection_gives_its_buffer_back_at_once(open_wire):
    """Whoever it calls back refers to it as well, and all of that waits for the garbage collector."""
    tracemalloc.start()
    try:
        connection = open_wire().connection
        before_bytes, _ = tracemalloc.get_traced_memory()
        connection.close()
        assert before_bytes - tracemalloc.get_traced_memory()[0] > 60 << 10
    finally:
        tracemalloc.stop()
