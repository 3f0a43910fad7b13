"""SIGKILL at any moment under load: every mark that was answered 201 is stored, and told once, in order."""

import http.client
import json
import multiprocessing
import sqlite3
import threading
from contextlib import closing

import pytest

from tests.unit.server_proc.running_server import DEADLINE_S, Sockets, ask, serve_in_process

pytestmark = pytest.mark.leak_checked

POSTERS = 4
KILLS = 4
MARKS_BETWEEN_KILLS = 30


@pytest.fixture
def sockets(tmp_path):
    sockets = Sockets(tmp_path)
    yield sockets
    sockets.close()


class Victim:
    """A server process on the shared sockets."""

    def __init__(self, sockets, state_dir):
        spawn = multiprocessing.get_context("spawn")
        reader, writer = spawn.Pipe(duplex=False)
        arguments = (sockets.settings(state_dir), sockets.listener, sockets.http_socket, writer)
        self._process = spawn.Process(target=serve_in_process, args=arguments)
        self._process.start()
        writer.close()
        with reader:
            assert reader.poll(DEADLINE_S)
            assert reader.recv_bytes() == b"ready"

    def kill(self):
        self._process.kill()
        self._process.join(DEADLINE_S)
        assert self._process.exitcode == -9
        self._process.close()


class Posters:
    """Threads that post until told to end, and repeat with the same id what they got no answer for."""

    def __init__(self, port):
        self._port = port
        self._is_ending = False
        self.accepted = []
        self.changed = threading.Condition()
        self._threads = [threading.Thread(target=self._post, args=(number,)) for number in range(POSTERS)]
        for thread in self._threads:
            thread.start()

    def wait_for(self, count):
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.accepted) >= count, DEADLINE_S)

    def end(self):
        self._is_ending = True
        for thread in self._threads:
            thread.join(DEADLINE_S)
            assert not thread.is_alive()

    def _post(self, number):
        n = 0
        while not self._is_ending:
            n += 1
            self._post_until_answered({"personId": f"{number}-{n}", "id": f"{number}-{n}"})

    def _post_until_answered(self, mark):
        body, headers = json.dumps(mark).encode(), {"Content-Type": "application/json"}
        answer = None
        while answer is None:
            with closing(
                http.client.HTTPConnection("127.0.0.1", self._port, timeout=DEADLINE_S)
            ) as connection:
                try:
                    answer = ask(connection, "POST", "/api/attendance", body, headers)
                except (ConnectionResetError, BrokenPipeError, http.client.HTTPException):
                    pass  # it was killed while it had our request; a refused connection is an error
        assert answer.status in (200, 201)
        with self.changed:
            self.accepted.append(answer.json)
            self.changed.notify_all()


def test_every_accepted_mark_is_stored_and_told_once_in_order_over_kills(sockets, tmp_path):
    state_dir = tmp_path / "state"
    victim = Victim(sockets, state_dir)
    with sockets.client() as client:
        posters = Posters(sockets.port)
        for kill in range(1, KILLS + 1):
            posters.wait_for(kill * MARKS_BETWEEN_KILLS)
            victim.kill()
            victim = Victim(sockets, state_dir)
        posters.wait_for((KILLS + 1) * MARKS_BETWEEN_KILLS)
        posters.end()
        accepted = {mark["id"]: mark for mark in posters.accepted}
        client.wait_for_seq(len(accepted))
        assert client.seqs == list(range(1, len(accepted) + 1))
        assert client.gaps == []
        told = {message.payload["id"]: message.payload for message in client.messages}
    victim.kill()
    assert told == accepted
    with closing(sqlite3.connect(state_dir / "attendance.db")) as connection:
        stored = {row[0] for row in connection.execute("SELECT id FROM marks")}
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert stored == set(accepted)
