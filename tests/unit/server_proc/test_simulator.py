"""Sending planned marks, against a tiny HTTP server that answers as the test says."""

import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from server_proc import simulator as module
from server_proc.arrivals import Arrival
from server_proc.simulator import Simulator, Target, Unauthorized
from tests.unit.ipc.channel import eventually


class StubServer(ThreadingHTTPServer):
    """`answers`: status and body of the next requests, or None to hang up; afterwards 201."""

    daemon_threads = True
    request_queue_size = 64  # all readers come at once

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers = []
        self.bodies = []
        self.headers = []
        self.connections = 0
        self.lock = threading.Lock()

    def target(self, **changes):
        return Target(host="127.0.0.1", port=self.server_address[1], **changes)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def setup(self):
        super().setup()
        with self.server.lock:
            self.server.connections += 1

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with self.server.lock:
            self.server.bodies.append((self.path, json.loads(body)))
            self.server.headers.append(self.headers)
            answer = self.server.answers.pop(0) if self.server.answers else (201, {})
        if answer is None:
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
            return
        status, content = answer
        encoded = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(encoded)))
        self.end_headers()
        self.wfile.write(encoded)

    def log_message(self, *_arguments):
        pass


@pytest.fixture
def server():
    server = StubServer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def counts(figures):
    return (figures.sent, figures.accepted, figures.duplicate, figures.failed, figures.retried)


def marks(count, at_s=0.0):
    return [Arrival(at_s, number, f"P{number}") for number in range(1, count + 1)]


def test_each_mark_is_sent_once_with_an_id_of_its_own(server):
    figures = Simulator(server.target()).run(marks(40))
    assert counts(figures) == (40, 40, 0, 0, 0)
    assert len(figures.latencies_s) == 40
    assert {path for path, _ in server.bodies} == {"/api/attendance"}
    assert len({body["id"] for _, body in server.bodies}) == 40
    assert {body["personId"] for _, body in server.bodies} == {f"P{n}" for n in range(1, 41)}
    assert server.connections <= module.READERS  # kept between marks


def test_the_same_plan_again_is_other_marks(server):
    for _ in range(2):
        Simulator(server.target()).run(marks(3))
    assert len({body["id"] for _, body in server.bodies}) == 6


def test_a_repetition_has_the_same_body_and_is_counted_as_a_duplicate(server, monkeypatch):
    monkeypatch.setattr(module, "READERS", 1)  # so that they arrive one after the other
    server.answers = [(201, {}), (200, {}), (200, {"duplicate": True})]
    plan = [Arrival(0.0, 1, "P1"), Arrival(0.1, 1, "P1", True), Arrival(0.2, 3, "P1", True)]
    assert counts(Simulator(server.target()).run(plan)) == (3, 1, 2, 0, 0)
    bodies = [body for _, body in server.bodies]
    assert bodies[0] == bodies[1] != bodies[2]


@pytest.mark.parametrize("lost", [None, (503, {}), (507, {"detail": "full"}), (429, {}), (502, b"<html>")])
def test_what_got_no_answer_is_sent_again_under_the_same_id(server, lost):
    server.answers = [lost, (200, {})]
    figures = Simulator(server.target()).run(marks(1))
    assert counts(figures) == (1, 1, 0, 0, 1)  # known at the second time, and still no duplicate
    (_, first), (_, second) = server.bodies
    assert first == second


def test_a_repetition_whose_answer_was_lost_stays_a_duplicate(server):
    server.answers = [None, (200, {})]
    figures = Simulator(server.target()).run([Arrival(0.0, 1, "P1", True)])
    assert counts(figures) == (1, 0, 1, 0, 1)


def test_what_is_refused_has_failed_and_says_why(server):
    server.answers = [(422, {"detail": "Wrong: personId."}), (404, b"nothing"), (302, {})]
    figures = Simulator(server.target()).run(marks(4))
    assert counts(figures) == (4, 1, 0, 3, 0)
    assert set(figures.reasons) == {"422 Wrong: personId.", "404 (no reason given)", "302 (no reason given)"}


def test_a_server_that_stays_away_is_given_up(monkeypatch):
    monkeypatch.setattr(module, "RETRY_FOR_S", 0.0)
    with socket.socket() as taken:  # by nobody who listens
        taken.bind(("127.0.0.1", 0))
        figures = Simulator(Target(host="127.0.0.1", port=taken.getsockname()[1])).run(marks(2))
    assert counts(figures)[:4] == (2, 0, 0, 2)
    assert "refused" in next(iter(figures.reasons))


def test_a_missing_key_ends_it_at_once(server):
    server.answers = [(401, {"detail": "Send the key of a device."})] * 100
    with pytest.raises(Unauthorized, match="Send the key"):
        Simulator(server.target()).run(marks(50, at_s=0.0) + marks(1, at_s=3600.0))
    assert len(server.bodies) <= module.READERS


def test_key_and_prefix_are_used(server):
    Simulator(server.target(key="axon_k", prefix="/axon")).run(marks(1))
    assert server.headers[0]["Authorization"] == "Bearer axon_k"
    assert server.bodies[0][0] == "/axon/api/attendance"


def test_the_latency_counts_from_the_scheduled_time(server, monkeypatch):
    monkeypatch.setattr(module, "READERS", 1)
    gate = threading.Event()
    post = module.Reader.post

    def slow(self, body):
        gate.wait(0.05)
        return post(self, body)

    monkeypatch.setattr(module.Reader, "post", slow)
    figures = Simulator(server.target()).run(marks(3))
    assert max(figures.latencies_s) >= 0.15  # the third waited for the other two


def test_an_interruption_leaves_the_figures_so_far(server):
    def interrupted():
        yield from marks(3)
        eventually(lambda: simulator.figures.accepted == 3)
        yield Arrival(0.0, 4, "P4")
        raise KeyboardInterrupt

    simulator = Simulator(server.target())
    with pytest.raises(KeyboardInterrupt):
        simulator.run(interrupted())
    figures = simulator.figures
    assert figures.failed == 0
    assert 3 <= figures.accepted <= figures.sent <= 4


def test_ticks_tell_of_what_came_since_the_last_one(server, monkeypatch):
    monkeypatch.setattr(module, "TICK_S", 0.02)
    seen = []
    simulator = Simulator(server.target(), lambda figures: seen.append(len(figures.recent_s)))
    simulator.run([*marks(2), Arrival(0.3, 3, "P3")])
    assert seen
    assert sum(seen) + len(simulator.figures.recent_s) == 3
