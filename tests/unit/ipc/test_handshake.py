"""The handshake: with the standard library at the other end, and with everything else."""

import contextlib
import os
import socket
import struct
import threading
import time
from multiprocessing import AuthenticationError
from multiprocessing.connection import Connection, answer_challenge, deliver_challenge

import pytest

from ipc.errors import ProtocolError
from ipc.handshake import DeadlineStream, authenticate_client, authenticate_server, check_same_user, peer_process
from tests.unit.ipc.channel import WITHIN_S

KEY = b"a key that both of them know...."
OTHER = b"a key that only one of them has."


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair()
    yield ours, theirs
    ours.close()
    theirs.close()


def stream_of(sock, within_s=WITHIN_S):
    return DeadlineStream(sock, time.monotonic() + within_s)


def in_thread(function):
    thread = threading.Thread(target=function)
    thread.start()
    return thread


def refusal(step, sock, key=KEY, within_s=WITHIN_S):
    """Return the kind of error that `step` ends with."""
    with pytest.raises(ProtocolError) as caught:
        step(stream_of(sock, within_s), key)
    return caught.value.kind


# -- with somebody honest ----------------------------------------------------------------------------------------------


def test_both_of_ours(pair):
    ours, theirs = pair
    thread = in_thread(lambda: authenticate_client(stream_of(theirs), KEY))
    authenticate_server(stream_of(ours), KEY)
    thread.join()


@pytest.mark.parametrize(
    ("step", "stock_steps"),
    [
        (authenticate_client, (answer_challenge, deliver_challenge)),
        (authenticate_server, (deliver_challenge, answer_challenge)),
    ],
)
def test_the_standard_library_at_the_other_end(pair, step, stock_steps):
    ours, theirs = pair
    connection = Connection(theirs.detach())
    thread = in_thread(lambda: [stock_step(connection, KEY) for stock_step in stock_steps])
    step(stream_of(ours), KEY)
    thread.join()
    connection.close()


def test_no_byte_is_taken_that_comes_after_it(pair):
    ours, theirs = pair
    stream = stream_of(theirs)

    def greet():
        authenticate_server(stream, KEY)
        stream.send_bytes(b"hello at once")

    thread = in_thread(greet)
    authenticate_client(stream_of(ours), KEY)
    assert stream_of(ours).recv_bytes(100) == b"hello at once"
    thread.join()


# -- with others -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [authenticate_client, authenticate_server])
def test_another_key_is_unauthorized_on_both_sides(pair, step):
    ours, theirs = pair
    others = authenticate_server if step is authenticate_client else authenticate_client
    kinds = []

    def try_other():
        try:
            others(stream_of(theirs), OTHER)
        except ProtocolError as error:
            kinds.append(error.kind)

    thread = in_thread(try_other)
    kinds.append(refusal(step, ours))
    thread.join()
    assert kinds == ["unauthorized", "unauthorized"]


@pytest.mark.parametrize("step", [authenticate_client, authenticate_server])
def test_silence_ends_at_the_deadline(pair, step):
    began = time.monotonic()
    assert refusal(step, pair[0], within_s=0.2) == "handshake_timeout"
    assert 0.19 < time.monotonic() - began < 10.0


@pytest.mark.parametrize("step", [authenticate_client, authenticate_server])
def test_a_deadline_that_is_over_is_noticed_at_once(pair, step):
    assert refusal(step, pair[0], within_s=-1.0) == "handshake_timeout"


def test_drops_do_not_move_the_deadline(pair):
    ours, theirs = pair
    ended = threading.Event()

    def drip():
        theirs.sendall(struct.pack(">i", 200))
        while not ended.wait(0.02):
            with contextlib.suppress(OSError):
                theirs.send(b"x")

    thread = in_thread(drip)
    began = time.monotonic()
    assert refusal(authenticate_server, ours, within_s=0.3) == "handshake_timeout"
    assert 0.29 < time.monotonic() - began < 10.0
    ended.set()
    thread.join()


def test_a_peer_that_reads_nothing_does_not_hold_us_beyond_the_deadline(pair):
    ours, _theirs = pair
    stream = stream_of(ours, 0.2)
    with pytest.raises(TimeoutError):
        stream.send_bytes(b"x" * (16 << 20))


@pytest.mark.parametrize("length", [0, -1, 257, 2**31 - 1, -(2**31)])
@pytest.mark.parametrize("step", [authenticate_client, authenticate_server])
def test_a_bad_length(pair, step, length):
    pair[1].sendall(struct.pack(">i", length))
    assert refusal(step, pair[0]) == "frame_length"


@pytest.mark.parametrize("body", [b"x", b"#CHALLENGE", b"\0" * 256])
def test_what_is_no_challenge(pair, body):
    pair[1].sendall(struct.pack(">i", len(body)) + body)
    assert refusal(authenticate_server, pair[0]) == "handshake_failed"


@pytest.mark.parametrize("step", [authenticate_client, authenticate_server])
def test_a_peer_that_leaves(pair, step):
    pair[1].close()
    assert refusal(step, pair[0]) == "handshake_failed"


def test_a_peer_that_leaves_in_the_middle_of_a_frame(pair):
    pair[1].sendall(struct.pack(">i", 20) + b"#CHAL")
    pair[1].close()
    assert refusal(authenticate_server, pair[0]) == "handshake_failed"


def test_a_server_that_knows_only_half_of_the_dance(pair):
    """It checks us and does not prove itself: an impostor at the path."""
    ours, theirs = pair
    connection = Connection(theirs.detach())

    def pretend():
        connection.send_bytes(b"#CHALLENGE#" + b"x" * 20)
        connection.recv_bytes()
        connection.send_bytes(b"#WELCOME#")
        connection.recv_bytes()
        connection.send_bytes(b"guess")

    thread = in_thread(pretend)
    assert refusal(authenticate_server, ours) == "unauthorized"
    thread.join()
    connection.close()


def test_a_refusal_does_not_show_the_key(pair):
    ours, theirs = pair

    def try_other():
        with contextlib.suppress(ProtocolError, AuthenticationError):
            authenticate_server(stream_of(theirs), OTHER)

    thread = in_thread(try_other)
    with pytest.raises(ProtocolError) as caught:
        authenticate_client(stream_of(ours), KEY)
    thread.join()
    assert "key that" not in str(caught.value)


# -- who it is ---------------------------------------------------------------------------------------------------------


def test_the_process_at_the_other_end(pair):
    assert peer_process(pair[0]) == (os.getpid(), os.geteuid())


def test_only_our_own_user_may_come():
    check_same_user(os.geteuid())
    with pytest.raises(ProtocolError, match=f"uid {os.geteuid() + 1} may not connect") as caught:
        check_same_user(os.geteuid() + 1)
    assert caught.value.kind == "wrong_uid"
