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

from ipc import RequestError
from tests.unit.server_proc.running_server import DEADLINE_S, Sockets, ask, serve_in_process

pytestmark = pytest.mark.leak_checked

POSTERS = 8
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

    def wait_until_dead(self):
        self._process.join(DEADLINE_S)
        assert self._process.exitcode == -signal.SIGKILL

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


# -- killed between two instructions -------------------------------------------------------------------------------


@pytest.fixture
def clients(sockets):
    """Three clients that are there all the time; ask for them once a server runs."""
    with ExitStack() as stack:
        yield lambda: [stack.enter_context(sockets.client(f"ui {number}")) for number in range(3)]


def post(port, person):
    """Return whether the mark was answered with 201; False means no answer at all."""
    body, headers = json.dumps({"personId": person}).encode(), {"Content-Type": "application/json"}
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE_S)) as connection:
        try:
            answer = ask(connection, "POST", "/api/attendance", body, headers)
        except (ConnectionResetError, BrokenPipeError, http.client.HTTPException):
            return False
    assert answer.status == 201
    return True


def stored_people(state_dir):
    with closing(sqlite3.connect(state_dir / "attendance.db")) as connection:
        return [person for (person,) in connection.execute("SELECT person_id FROM marks ORDER BY mark_seq")]


def told(client):
    assert client.gaps == []
    assert client.seqs == list(range(1, len(client.seqs) + 1))
    return [message.payload["personId"] for message in client.messages]


def everybody_is_told_until(clients, person):
    for client in clients:
        client.wait_until(lambda client=client: client.messages and client.messages[-1].payload["personId"] == person)


@pytest.mark.parametrize("nth", [1, 2, 7])
@pytest.mark.parametrize(
    ("point", "is_durable"), [("before_commit", False), ("after_commit", True), ("after_announce", True)]
)
def test_a_mark_is_there_for_all_or_for_nobody_wherever_the_kill_hits(
    sockets, tmp_path, clients, monkeypatch, point, is_durable, nth
):
    state_dir = tmp_path / "state"
    with Victim(sockets, state_dir):
        following = clients()
        assert post(sockets.port, "first")
    monkeypatch.setenv("AXON_FAULT", f"{point}:SIGKILL:{nth}")
    answered = ["first"]
    with Victim(sockets, state_dir) as victim:
        while post(sockets.port, f"p{len(answered)}"):
            answered.append(f"p{len(answered)}")
        victim.wait_until_dead()
    monkeypatch.delenv("AXON_FAULT")
    assert len(answered) == nth
    with Victim(sockets, state_dir):
        assert post(sockets.port, "last")
        everybody_is_told_until(following, "last")
    in_doubt = [f"p{nth}"] if is_durable else []
    assert stored_people(state_dir) == [*answered, *in_doubt, "last"]
    assert [told(client) for client in following] == [stored_people(state_dir)] * 3


@pytest.mark.parametrize("point", ["before_commit", "after_commit", "after_announce"])
def test_a_kill_within_a_shared_commit_loses_no_answer_and_tells_all_clients_the_same(
    sockets, tmp_path, clients, monkeypatch, point
):
    state_dir = tmp_path / "state"
    with Victim(sockets, state_dir):
        following = clients()
    monkeypatch.setenv("AXON_FAULT", f"{point}:SIGKILL:20")
    answered = []

    is_over = threading.Event()

    def post_until_it_dies(number):
        n = 0
        while not is_over.is_set() and post(sockets.port, f"{number}-{n}"):
            answered.append(f"{number}-{n}")
            n += 1

    posters = [threading.Thread(target=post_until_it_dies, args=(number,)) for number in range(POSTERS)]
    with Victim(sockets, state_dir) as victim:
        for poster in posters:
            poster.start()
        victim.wait_until_dead()
        is_over.set()
    monkeypatch.delenv("AXON_FAULT")
    with Victim(sockets, state_dir):  # for it some requests wait in the backlog
        for poster in posters:
            poster.join(DEADLINE_S)
        assert post(sockets.port, "last")
        everybody_is_told_until(following, "last")
    stored = stored_people(state_dir)
    assert [told(client) for client in following] == [stored] * 3
    assert len(stored) == len(set(stored))
    assert set(answered) <= set(stored)
    for number in range(POSTERS):  # of each poster at most the one mark in doubt more than was answered, and in order
        of_one = [person for person in stored if person.startswith(f"{number}-")]
        known = [person for person in answered if person.startswith(f"{number}-")]
        assert of_one[: len(known)] == known
        assert len(of_one) <= len(known) + 1


def ask_until_answered(client, payload):
    """Ask again, with the same id, as long as nobody answers."""
    give_up = time.monotonic() + DEADLINE_S
    while True:
        try:
            return client.client.request(payload, DEADLINE_S)
        except RequestError as error:
            if error.code != "disconnected" or time.monotonic() > give_up:
                raise


@pytest.mark.parametrize("point", ["before_commit", "after_commit", "after_announce"])
def test_actions_that_are_asked_for_again_after_a_kill_are_carried_out_once(
    sockets, tmp_path, clients, monkeypatch, point
):
    state_dir = tmp_path / "state"
    with Victim(sockets, state_dir):
        following = clients()
        operator = following[0]
    actions = [
        {"type": "mark", "personId": "1", "id": "m"},
        {"type": "void", "markId": "m", "reason": "twice", "id": "v"},
        {"type": "rename", "personId": "1", "name": "Ada"},
    ]
    answers = []

    def carry_out_all():
        answers.extend(ask_until_answered(operator, action) for action in actions)

    asking = threading.Thread(target=carry_out_all)
    monkeypatch.setenv("AXON_FAULT", f"{point}:SIGKILL:1")
    for _ in actions:  # each dies with the first action that it carries out
        with Victim(sockets, state_dir) as victim:
            if asking.ident is None:
                asking.start()
            victim.wait_until_dead()
            if point == "before_commit":
                break  # it would do so for ever
    monkeypatch.delenv("AXON_FAULT")
    with Victim(sockets, state_dir):
        asking.join(DEADLINE_S)
        assert not asking.is_alive()
        for client in following:
            client.wait_for_seq(3)
    assert [answer["type"] for answer in answers] == ["mark", "void", "rename"]
    for client in following:
        assert client.seqs == [1, 2, 3]
        assert [message.payload["type"] for message in client.messages] == ["attendance", "void", "person"]
