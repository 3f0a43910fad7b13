"""The acceptor: whoever comes is served on a thread of his own, whatever the machine is short of."""

import errno
import os
import socket
import threading

import pytest

from ipc.acceptor import Acceptor
from tests.unit.ipc.channel import WITHIN_S, Arrivals, LogLines, eventually, thread_names


class Log(LogLines):
    """Stands in for a logger."""

    def error(self, event, **fields):
        self._keep("error", event, fields)

    def critical(self, event, **fields):
        self._keep("critical", event, fields)

    def _keep(self, level, event, fields):
        Arrivals.__call__(self, {"level": level, "event": event, **fields})


@pytest.fixture
def log():
    return Log()


@pytest.fixture
def listening(socket_path, socket_dir):
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(socket_path)
        listening.listen(64)
        yield listening
    (socket_dir / "a.sock").unlink()


@pytest.fixture
def open_acceptor(listening, log):
    acceptors = []

    def start(serve, max_strangers=100, listening=listening):
        acceptors.append(Acceptor(listening, serve, log, max_strangers))
        return acceptors[-1]

    yield start
    for acceptor in acceptors:
        acceptor.stop_accepting(WITHIN_S)
        for thread in acceptor.threads():
            thread.join(WITHIN_S)
    eventually(lambda: thread_names("ipc-") == [])


def connect(path):
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(WITHIN_S)
    client.connect(path)
    return client


def serve_until_hung_up(sock, _number, _on_greeted):
    with sock:
        sock.recv(1)


def test_each_connection_is_served_on_a_thread_of_its_own(open_acceptor, socket_path):
    served = Arrivals()

    def serve(sock, number, _on_greeted):
        with sock:
            served((number, threading.current_thread().name))
            sock.sendall(b"hello")

    open_acceptor(serve)
    for _ in range(3):
        with connect(socket_path) as client:
            assert client.recv(100) == b"hello"
    assert served.wait_for(3) == [(number, f"ipc-peer-{number}") for number in (1, 2, 3)]


def test_one_stranger_too_many_cuts_the_first_but_nobody_who_is_known(open_acceptor, socket_path):
    greeted = Arrivals()

    def serve(sock, number, on_greeted):
        with sock:
            if number == 1:
                on_greeted()
            greeted(number)
            sock.recv(1)

    open_acceptor(serve, max_strangers=2)
    clients = []
    for number in range(1, 6):
        clients.append(connect(socket_path))
        greeted.wait_for(number)
    assert [client.recv(1) for client in clients[1:3]] == [b"", b""]
    for client in (clients[0], *clients[3:]):
        client.setblocking(False)
        with pytest.raises(BlockingIOError):
            client.recv(1)
    for client in clients:
        client.close()


def test_what_serving_raises_is_logged_and_ends_nothing_else(open_acceptor, socket_path, log):
    def serve(sock, number, _on_greeted):
        with sock:
            if number == 1:
                raise ZeroDivisionError
            sock.sendall(b"hello")

    open_acceptor(serve)
    with connect(socket_path) as unlucky, connect(socket_path) as lucky:
        assert unlucky.recv(1) == b""
        assert lucky.recv(100) == b"hello"
    assert log.wait_for_event("peer_thread_failed")[0]["exc_info"]


class Scarce:
    """A listening socket that cannot be accepted from for a while."""

    def __init__(self, listening, number, times):
        self._listening, self._number, self.times = listening, number, times

    def accept(self):
        if self.times:
            self.times -= 1
            raise OSError(self._number, "scarce")
        return self._listening.accept()

    def fileno(self):
        return self._listening.fileno()

    def setblocking(self, is_blocking):
        self._listening.setblocking(is_blocking)


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
def test_a_shortage_is_told_once_and_waited_out(open_acceptor, listening, socket_path, log, number):
    open_acceptor(serve_until_hung_up, listening=Scarce(listening, number, 3))
    with connect(socket_path):
        eventually(lambda: thread_names("ipc-peer"))
    assert len(log.named("accept_paused")) == 1


@pytest.mark.parametrize("number", [errno.ECONNABORTED, errno.EAGAIN, errno.EINTR])
def test_a_client_that_is_gone_before_it_is_accepted_is_nothing(open_acceptor, listening, socket_path, log, number):
    open_acceptor(serve_until_hung_up, listening=Scarce(listening, number, 3))
    with connect(socket_path):
        eventually(lambda: thread_names("ipc-peer"))
    assert log.items == []


def test_a_socket_that_cannot_be_accepted_from_is_told(open_acceptor, listening, socket_path, log):
    open_acceptor(serve_until_hung_up, listening=Scarce(listening, errno.EINVAL, 1))
    with connect(socket_path):
        log.wait_for_event("accept_failed")
    eventually(lambda: thread_names("ipc-accept") == [])


def test_a_machine_out_of_threads_turns_away_and_goes_on(open_acceptor, socket_path, log, monkeypatch):
    start, refused = threading.Thread.start, []

    def refuse_first(thread):
        if thread.name.startswith("ipc-peer") and not refused:
            refused.append(thread)
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse_first)
    open_acceptor(serve_until_hung_up)
    with connect(socket_path) as unlucky, connect(socket_path):
        assert unlucky.recv(1) == b""
        eventually(lambda: thread_names("ipc-peer-2"))
    assert len(log.named("accept_paused")) == 1


def test_a_machine_without_a_thread_for_accepting_leaves_no_descriptor(listening, log, monkeypatch):
    def refuse(_thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(RuntimeError):
        Acceptor(listening, serve_until_hung_up, log, 10)


def test_stop_accepting_hangs_up_on_strangers_and_on_nobody_else(open_acceptor, socket_path):
    served = Arrivals()

    def serve(sock, number, on_greeted):
        with sock:
            if number == 1:
                on_greeted()
            served(number)
            sock.recv(1)

    acceptor = open_acceptor(serve)
    with connect(socket_path) as known, connect(socket_path) as stranger:
        served.wait_for(2)
        acceptor.stop_accepting(WITHIN_S)
        assert stranger.recv(1) == b""
        known.setblocking(False)
        with pytest.raises(BlockingIOError):
            known.recv(1)
        acceptor.stop_accepting = lambda _patience_s: None  # it is stopped


def test_a_thread_that_stop_does_not_wait_for_gives_its_descriptors_back(listening, socket_path, log, monkeypatch):
    """A log that nobody reads holds it up, or a machine that has other things to do."""
    entered, go_on = threading.Event(), threading.Event()

    def hold(_event, **_fields):
        entered.set()
        go_on.wait(WITHIN_S)

    monkeypatch.setattr(log, "error", hold)
    descriptors = os.listdir("/proc/self/fd")
    acceptor = Acceptor(Scarce(listening, errno.EMFILE, 1), serve_until_hung_up, log, 10)
    with connect(socket_path):
        assert entered.wait(WITHIN_S)
        acceptor.stop_accepting(0.0)
        assert thread_names("ipc-accept")
        go_on.set()
        eventually(lambda: thread_names("ipc-accept") == [])
    assert os.listdir("/proc/self/fd") == descriptors
    acceptor.stop_accepting(0.0)  # a second time is nothing
