"""Frames: any stream, in any pieces, gives the same bodies; a dishonest length ends it before it costs memory."""

import socket
import struct
import weakref
from multiprocessing.connection import Connection

import hypothesis.strategies as st
import pytest
from hypothesis import given

from ipc.errors import ProtocolError
from ipc.framing import FrameDecoder, frame

MAX_BYTES = 1 << 20
bodies_of_any_size = st.lists(st.one_of(st.binary(min_size=1), st.integers(1, 200_000).map(lambda n: b"x" * n)))


def feed(decoder, data, piece_sizes):
    """Give `data` to `decoder` in pieces; return the bodies, copied before they become invalid."""
    bodies = []
    rest = memoryview(data)
    sizes = iter(piece_sizes)
    while rest:
        space = decoder.space()
        assert space.nbytes > 0
        count = min(next(sizes, len(rest)), len(space), len(rest))
        space[:count] = rest[:count]
        rest = rest[count:]
        bodies += [bytes(body) for body in decoder.received(count)]
    return bodies


@given(bodies=bodies_of_any_size, piece_sizes=st.lists(st.integers(1, 100_000)))
def test_a_stream_in_any_pieces_gives_its_bodies(bodies, piece_sizes):
    decoder = FrameDecoder(MAX_BYTES)
    assert feed(decoder, b"".join(map(frame, bodies)), piece_sizes) == bodies
    assert not decoder.is_partial


@given(bodies=st.lists(st.binary(min_size=1, max_size=40), min_size=1))
def test_byte_by_byte_a_frame_is_partial_until_its_end(bodies):
    stream = b"".join(map(frame, bodies))
    ends = {len(b"".join(map(frame, bodies[: count + 1]))) for count in range(len(bodies))}
    decoder = FrameDecoder(MAX_BYTES)
    heard = []
    for offset, byte in enumerate(stream, 1):
        heard += feed(decoder, bytes([byte]), [])
        assert decoder.is_partial == (offset not in ends)
    assert heard == bodies


def test_a_frame_is_what_multiprocessing_reads():
    ours, theirs = socket.socketpair()
    with ours, Connection(theirs.detach()) as connection:
        ours.sendall(frame(b"hello"))
        assert connection.recv_bytes() == b"hello"
        connection.send_bytes(b"x" * 20_000)  # above 16 kB it writes the header by itself
        decoder = FrameDecoder(MAX_BYTES)
        heard = []
        while not heard:
            heard = [bytes(body) for body in decoder.received(ours.recv_into(decoder.space()))]
        assert heard == [b"x" * 20_000]


@pytest.mark.parametrize("length", [0, -1, 101, 2**31 - 1, -(2**31)])
def test_a_length_that_no_honest_peer_sends_ends_the_stream(length):
    decoder = FrameDecoder(100)
    stream = frame(b"good") + struct.pack(">i", length)
    space = decoder.space()
    space[: len(stream)] = stream
    assert [bytes(body) for body in decoder.received(len(stream))] == [b"good"]
    assert decoder.is_partial
    with pytest.raises(ProtocolError, match=f"a frame of {length} bytes; 1..100 are allowed") as caught:
        decoder.space()
    assert caught.value.kind == "frame_length"


@pytest.mark.parametrize("length", [0, -1, 101, 2**31 - 1])
def test_what_follows_a_bad_length_is_not_read(length):
    decoder = FrameDecoder(100)
    with pytest.raises(ProtocolError):
        feed(decoder, struct.pack(">i", length) + b"x" * 200 + frame(b"late"), [1] * 500)


def test_the_greatest_frame_is_taken_and_its_memory_given_back():
    decoder = FrameDecoder(MAX_BYTES)
    assert feed(decoder, frame(b"x" * MAX_BYTES), []) == [b"x" * MAX_BYTES]
    assert len(decoder.space()) <= 1 << 16


def test_memory_is_taken_only_for_an_announced_frame():
    decoder = FrameDecoder(MAX_BYTES)
    assert len(decoder.space()) <= 1 << 16
    feed(decoder, frame(b"x" * MAX_BYTES)[:-1], [])
    assert len(decoder.space()) == 1


def test_a_small_frame_after_a_part_of_a_great_one_keeps_its_place():
    """The buffer shrinks with a part of the next frame in it."""
    decoder = FrameDecoder(MAX_BYTES)
    bodies = [b"a" * 300_000, b"b" * 10, b"c" * 200_000, b"d"]
    stream = b"".join(map(frame, bodies))
    for piece in (97, 4_096, 65_536, 300_005, 300_010):
        assert feed(decoder, stream, [piece] * (len(stream) // piece)) == bodies


def test_a_released_decoder_keeps_no_buffer():
    decoder = FrameDecoder(MAX_BYTES)
    buffer = weakref.ref(decoder.space())
    decoder.release()
    assert buffer() is None
