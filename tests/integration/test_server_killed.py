"""SIGKILL at any moment under load: every mark that was answered 201 is stored, and told once, in order."""

import http.client
import json
import multiprocessing
import signal
import sqlite3
import threading
import time
from contextlib import ExitStack, closing

import pytest

from tests.unit.server_proc.running_server import DEADLINE_S, Sockets, ask, serve_in_process

pytestmark = pytest.mark.leak_checked

POSTERS = 4
LIVES = 5
MARKS_PER_LIFE = 30


@pytest.fixture
def sockets(tmp_path):
    sockets = Sockets(tmp_path)
    yield sockets
    sockets.close()


class Victim:
    """A server process on the shared sockets. Use as a context manager: it is dead after the block."""

    def __init__(self, sockets, state_dir):
        spawn = multiprocessing.get_context("spawn")
        self._ready_reader, writer = spawn.Pipe(duplex=False)
        arguments = (sockets.settings(state_dir), sockets.listener, sockets.http_socket, writer)
        self._process = spawn.Process(target=serve_in_process, args=arguments)
        self._process.start()
        writer.close()

    def __enter__(self):
        with self._ready_reader as reader:
            is_ready = reader.poll(DEADLINE_S)
        if not is_ready:
            self._kill()
        assert is_ready
        return self

    def __exit__(self, *_exception):
        self._kill()

    def _kill(self):
        self._process.kill()
        self._process.join(DEADLINE_S)
        assert self._process.exitcode == -signal.SIGKILL
        self._process.close()


class Posters:
    """Threads that post, and repeat with the same id what they got no answer for. Use as a context manager."""

    def __init__(self, port):
        self._port = port
        self._is_ending = False
        self.accepted = []
        self.changed = threading.Condition()
        self._threads = [threading.Thread(target=self._post, args=(number,)) for number in range(POSTERS)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_exception):
        self.end()

    def wait_for(self, count):
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.accepted) >= count, DEADLINE_S)

    def end(self):
        """Let each thread get its last answer."""
        self._is_ending = True
        for thread in self._threads:
            thread.join(2 * DEADLINE_S)
            assert not thread.is_alive()

    def _post(self, number):
        n = 0
        while not self._is_ending:
            n += 1
            self._post_until_answered({"personId": f"{number}-{n}", "id": f"{number}-{n}"})

    def _post_until_answered(self, mark):
        body, headers = json.dumps(mark).encode(), {"Content-Type": "application/json"}
        give_up = time.monotonic() + DEADLINE_S
        answer = None
        while answer is None and time.monotonic() < give_up:
            with closing(http.client.HTTPConnection("127.0.0.1", self._port, timeout=DEADLINE_S)) as connection:
                try:
                    answer = ask(connection, "POST", "/api/attendance", body, headers)
                except (ConnectionResetError, BrokenPipeError, http.client.HTTPException):
                    pass  # it was killed while it had our request; a refused connection is an error
        with self.changed:
            self.accepted.append(answer)
            self.changed.notify_all()


def test_every_accepted_mark_is_stored_and_told_once_in_order_over_kills(sockets, tmp_path):
    state_dir = tmp_path / "state"
    with ExitStack() as stack:
        with Victim(sockets, state_dir):
            client = stack.enter_context(sockets.client())
            posters = stack.enter_context(Posters(sockets.port))
            posters.wait_for(MARKS_PER_LIFE)
        for life in range(2, LIVES):
            with Victim(sockets, state_dir):
                posters.wait_for(life * MARKS_PER_LIFE)
        with Victim(sockets, state_dir):
            posters.wait_for(LIVES * MARKS_PER_LIFE)
            posters.end()
            assert {answer.status for answer in posters.accepted} <= {200, 201}
            accepted = {answer.json["id"]: answer.json for answer in posters.accepted}
            client.wait_for_seq(len(accepted))
    assert client.seqs == list(range(1, len(accepted) + 1))
    assert client.gaps == []
    told = {message.payload["id"]: message.payload for message in client.messages}
    assert all(mark.pop("requestId") for mark in told.values())
    assert told == accepted
    with closing(sqlite3.connect(state_dir / "attendance.db")) as connection:
        assert {row[0] for row in connection.execute("SELECT id FROM marks")} == set(accepted)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
