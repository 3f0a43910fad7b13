"""The whole server child with real HTTP and real ipc: marks go in, and every client is told of each, once, in order."""

import http.client
import json
import socket
import sqlite3
import threading
import time
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from ipc import ChildSetupError, RequestError
from server_proc import http_channel, self_check
from server_proc.database import open_database
from server_proc.devices import DeviceStore
from server_proc.main import run
from server_proc.outbox import OutboxLog
from server_proc.services import Services
from server_proc.upkeep import Upkeep
from tests.unit.ipc.channel import eventually
from tests.unit.server_proc.running_server import (
    DEADLINE_S,
    RunningServer,
    Sockets,
    ask,
    be_patient,
    kept_logging,
    without_request,
)

pytestmark = pytest.mark.leak_checked

POSTERS = 64
NOON_S = 1_769_860_800.0  # 2026-01-31T12:00:00Z


@pytest.fixture(autouse=True)
def _patient(monkeypatch):
    be_patient(monkeypatch.setattr)


@pytest.fixture(autouse=True)
def _logging_as_it_was():
    with kept_logging():
        yield


@pytest.fixture
def sockets(tmp_path):
    sockets = Sockets(tmp_path)
    yield sockets
    sockets.close()


@pytest.fixture
def state_dir(tmp_path):
    return tmp_path / "state"


@pytest.fixture
def server(sockets, state_dir):
    with RunningServer(sockets, state_dir) as server:
        yield server


@contextmanager
def device_store(state_dir):
    with closing(open_database(state_dir / "attendance.db")) as database:
        yield DeviceStore(database)


def device_key(state_dir, name):
    with device_store(state_dir) as devices:
        return devices.add(name, 0)


def rows(state_dir, sql):
    with closing(sqlite3.connect(state_dir / "attendance.db")) as connection:
        return connection.execute(sql).fetchall()


def post_many(server, threads_count, each, door="door"):
    """Post from many threads, each on one connection; return the marks that were answered 201."""
    answers = []
    start = threading.Barrier(threads_count)

    def post(number):
        with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=DEADLINE_S)) as connection:
            start.wait(DEADLINE_S)
            for n in range(each):
                body = json.dumps({"personId": f"{door}-{number}-{n}"}).encode()
                headers = {"Content-Type": "application/json"}
                answers.append(ask(connection, "POST", "/api/attendance", body, headers))

    threads = [threading.Thread(target=post, args=(number,)) for number in range(threads_count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [answer.status for answer in answers] == [201] * (threads_count * each)
    return [answer.json for answer in answers]


# -- marks ---------------------------------------------------------------------------------------------------------


def test_a_mark_reaches_every_client_as_it_was_answered(server):
    with server.client("one") as one, server.client("two") as two:
        answer = server.post({"personId": "12345", "source": "door"})
        assert answer.status == 201
        for client in (one, two):
            client.wait_for_seq(1)
            assert without_request(client.messages[0].payload) == answer.json
            assert client.messages[0].payload["requestId"] == answer.headers["X-Request-Id"]


def test_16_posters_at_once_are_all_stored_once_and_announced_once_in_order(server, state_dir):
    with server.client() as client:
        marks = post_many(server, threads_count=16, each=50)
        client.wait_for_seq(800)
        assert client.seqs == list(range(1, 801))
        assert client.gaps == []
        told = [without_request(message.payload) for message in client.messages]
    assert sorted(mark["markSeq"] for mark in marks) == list(range(1, 801))
    assert told == sorted(marks, key=lambda mark: mark["markSeq"])
    assert rows(state_dir, "SELECT count(*), count(DISTINCT person_id) FROM marks") == [(800, 800)]
    assert rows(state_dir, "SELECT count(*), min(seq), max(seq) FROM outbox") == [(800, 1, 800)]


def test_posters_that_wait_for_each_other_share_a_commit(sockets, state_dir, monkeypatch):
    opened, commits = [], []

    def open_and_watch(path):
        database = open_database(path)
        opened.append(database)
        return database

    monkeypatch.setattr("server_proc.main.open_database", open_and_watch)
    with RunningServer(sockets, state_dir) as server:
        (database,) = opened
        with database.write() as transaction:
            connection = transaction.connection
            connection.set_trace_callback(lambda sql: commits.append(sql) if sql == "COMMIT" else None)
            posters = [threading.Thread(target=server.post, args=({"personId": str(n)},)) for n in range(POSTERS)]
            for poster in posters:
                poster.start()
            eventually(lambda: len(database._batches._line) == POSTERS)
        for poster in posters:
            poster.join(DEADLINE_S)
        connection.set_trace_callback(None)
    assert len(commits) == 2  # one is of the transaction that held them up
    assert rows(state_dir, "SELECT count(DISTINCT person_id) FROM marks") == [(POSTERS,)]


def test_a_client_that_was_away_for_too_long_is_told_exactly_what_it_has_missed(sockets, state_dir, monkeypatch):
    monkeypatch.setattr("server_proc.outbox.KEPT_MESSAGES", 5)
    with RunningServer(sockets, state_dir) as first, first.client() as client:
        post_many(first, threads_count=1, each=3)
        client.wait_for_seq(3)
        first.stop()
        with closing(open_database(state_dir / "attendance.db")) as database:
            outbox = OutboxLog(database)
            for n in range(20):
                outbox.append({"n": n})
            Upkeep(database, outbox).once()
            assert (outbox.oldest, outbox.newest) == (19, 23)
        with RunningServer(sockets, state_dir):
            client.wait_for_seq(23)
            assert client.gaps == [(4, 18)]
            assert client.seqs == [1, 2, 3, 19, 20, 21, 22, 23]
    assert rows(state_dir, "SELECT count(*) FROM marks") == [(3,)]


def test_a_client_goes_on_where_it_was_when_the_server_is_another_one(sockets, state_dir):
    with RunningServer(sockets, state_dir) as first, first.client() as client:
        post_many(first, threads_count=2, each=5)
        client.wait_for_seq(10)
        first.stop()
        with RunningServer(sockets, state_dir) as second:
            post_many(second, threads_count=2, each=5, door="other door")
            client.wait_for_seq(20)
            assert client.seqs == list(range(1, 21))
            assert client.gaps == []
            client.wait_until(lambda: client.client.state.kind == "live")


def test_the_same_id_is_known_to_the_next_server_too(sockets, state_dir):
    with RunningServer(sockets, state_dir) as first:
        stored = first.post({"personId": "1", "id": "a"})
    with RunningServer(sockets, state_dir) as second:
        again = second.post({"personId": "1", "id": "a"})
        assert (stored.status, again.status, again.body) == (201, 200, stored.body)
        assert second.post({"personId": "2", "id": "a"}).status == 422
        assert second.request("GET", "/api/attendance").json["marks"] == [stored.json]


def test_the_same_key_is_known_to_the_next_server_too(sockets, state_dir):
    headers = {"Content-Type": "application/json", "Idempotency-Key": "k"}
    with RunningServer(sockets, state_dir, cooldown_s=0) as first:
        stored = first.request("POST", "/api/attendance", b'{"personId": "1"}', headers)
    with RunningServer(sockets, state_dir, cooldown_s=0) as second:
        again = second.request("POST", "/api/attendance", b'{ "personId" : "1" }', headers)
        assert (stored.status, again.status, again.body) == (201, 200, stored.body)
        assert second.request("POST", "/api/attendance", b'{"personId": "2"}', headers).status == 422
        assert second.request("GET", "/api/attendance").json["marks"] == [stored.json]


def test_the_cool_down_is_the_one_that_was_asked_for(sockets, state_dir):
    for cooldown_s, statuses in ((60, [201, 200]), (0, [201, 201])):
        with RunningServer(sockets, state_dir, cooldown_s=cooldown_s) as server:
            body = {"personId": f"with {cooldown_s}"}
            assert [server.post(body).status for _ in range(2)] == statuses


def test_bad_input_stores_and_announces_nothing(server, state_dir):
    for body, status in [({}, 422), ({"personId": ""}, 422), ({"personId": 5}, 422), ([], 400)]:
        answer = server.post(body)
        assert answer.status == status
        assert answer.headers["Content-Type"] == "application/problem+json"
    assert rows(state_dir, "SELECT count(*) FROM marks") == rows(state_dir, "SELECT count(*) FROM outbox") == [(0,)]


@pytest.mark.parametrize("size_bytes", [64 * 1024 + 1, 200 * 1024, 2 << 20])
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_body_over_the_limit_is_413_however_it_is_framed(server, state_dir, monkeypatch, size_bytes, framing):
    monkeypatch.setattr(http_channel, "DISCARD_S", DEADLINE_S)
    empty = json.dumps({"personId": "1", "padding": ""})
    body = empty.replace('""}', '"%s"}' % ("x" * (size_bytes - len(empty)))).encode()
    assert len(body) == size_bytes
    parts = body if framing == "length" else iter([body[:1000], body[1000:]])
    answer = server.request("POST", "/api/attendance", parts, {"Content-Type": "application/json"})
    assert answer.status == 413
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert rows(state_dir, "SELECT count(*) FROM marks") == [(0,)]


def test_a_chunked_body_within_the_limit_is_stored(server):
    parts = iter([b'{"personId":', b' "12345"}'])
    assert server.request("POST", "/api/attendance", parts, {"Content-Type": "application/json"}).status == 201


def test_a_foreign_host_is_refused(server):
    for host in ("evil.example", f"evil.example:{server.port}", f"localhost:{server.port + 1}", "localhost"):
        assert server.request("GET", "/healthz", headers={"Host": host}).status == 403
    for host in (f"localhost:{server.port}", f"127.0.0.1:{server.port}", f"[::1]:{server.port}"):
        assert server.request("GET", "/healthz", headers={"Host": host}).status == 200


# -- messages, requests, actions -----------------------------------------------------------------------------------


def test_a_message_is_broadcast_to_every_client(server):
    with server.client("one") as one, server.client("two") as two:
        answer = server.post({"type": "news", "text": "hello"}, path="/api/messages")
        assert (answer.status, answer.json) == (202, {"clients": 2, "seq": 1})
        for client in (one, two):
            client.wait_for_seq(1)
            assert client.messages[0].payload == {"type": "news", "text": "hello"}


def test_a_client_that_starts_cold_asks_for_the_state_and_follows_from_there(sockets, state_dir, monkeypatch):
    # Not at midnight, when a new day has no marks yet.
    monkeypatch.setattr("server_proc.main.Services", partial(Services, clock=lambda: NOON_S))
    with RunningServer(sockets, state_dir) as server:
        marks = post_many(server, threads_count=1, each=5)
        with server.client() as client:
            snapshot = client.client.request({"type": "snapshot", "limit": 3}, DEADLINE_S)
            assert snapshot["seq"] == 5
            assert snapshot["marks"] == [marks[4], marks[3], marks[2]]
            assert (snapshot["total"], snapshot["today"]) == (5, 5)
            server.post({"personId": "late"})
            client.wait_for_seq(6)
            assert client.messages[-1].payload["personId"] == "late"


def test_a_wrong_snapshot_request_is_an_error_at_the_client(server):
    with server.client() as client:
        with pytest.raises(RequestError, match="limit") as caught:
            client.client.request({"type": "snapshot", "limit": "all"}, DEADLINE_S)
        assert caught.value.code == "wrong_field"


def test_the_largest_snapshot_fits_into_a_frame(server, state_dir):
    with closing(sqlite3.connect(state_dir / "attendance.db")) as connection, connection:
        row = ("é" * 128, 1_769_846_400_000, 1_769_846_400_000, "ü" * 128)
        connection.executemany(
            "INSERT INTO marks (id, person_id, timestamp_ms, received_ms, source) VALUES (?, ?, ?, ?, ?)",
            [(f"{n:0>128}", *row) for n in range(12_000)],
        )
    with server.client() as client:
        snapshot = client.client.request({"type": "snapshot", "limit": 10_000}, DEADLINE_S)
    assert snapshot["total"] == 12_000
    assert 1000 < len(snapshot["marks"]) < 10_000
    assert snapshot["marks"][0]["markSeq"] == 12_000


def test_an_action_of_the_ui_is_logged_without_its_text(server):
    with capture_logs() as logs, server.client() as client:
        assert client.client.send_message({"type": "action", "action": "note", "text": "private"})
        # The reply to a later request of the same client shows that the message has been handled.
        client.client.request({"type": "snapshot"}, DEADLINE_S)
    (line,) = [line for line in logs if line["event"] == "action_received"]
    assert (line["type"], line["action"]) == ("action", "note")
    assert "private" not in repr(logs)


# -- life and end --------------------------------------------------------------------------------------------------


def test_it_is_ready_only_after_it_answered_itself_and_says_so_each_second(server):
    assert server.request("GET", "/healthz").json == {"status": "ok"}
    assert server.request("GET", "/readyz").json == {"status": "ready"}
    assert server.context.heartbeats.acquire(timeout=DEADLINE_S)


def test_it_stops_promptly_with_clients_connected_and_leaves_the_sockets_open(sockets, state_dir):
    with RunningServer(sockets, state_dir) as server, server.client() as client:
        server.post({"personId": "1"})
        client.wait_for_seq(1)
        started = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - started < 5.0  # then the launcher would kill it
    assert Path(sockets.path).is_socket()
    with socket.create_connection(("127.0.0.1", sockets.port)):
        pass  # the launcher's socket still takes connections, for the next server
    assert not (state_dir / "attendance.db-wal").exists()  # closed in order


def test_a_stop_that_came_before_it_was_up_ends_it_at_once(sockets, state_dir):
    server = RunningServer(sockets, state_dir)
    server.context.stop()
    server._thread.start()
    assert server.stop() == 0


def test_a_server_that_cannot_answer_itself_ends_with_an_error(sockets, state_dir, monkeypatch):
    monkeypatch.setattr(self_check, "FIRST_PATIENCE_S", 0.05)
    monkeypatch.setattr("server_proc.main.make_wsgi_app", lambda *_arguments: lambda _environ, _start: None)
    server = RunningServer(sockets, state_dir)
    with capture_logs() as logs:
        server._thread.start()
        server._thread.join(DEADLINE_S)
    assert server.exit_code == 1
    assert not server.context.is_ready.is_set()
    assert "self_check_failed" in [line["event"] for line in logs]
    server.stop()


def refusal(sockets, state_dir, **settings):
    server = RunningServer(sockets, state_dir, **settings)
    with closing(server.context.http_socket), pytest.raises(ChildSetupError) as caught:
        run(server.context)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_corrupt_database_is_refused_with_one_line(sockets, state_dir):
    state_dir.mkdir()
    (state_dir / "attendance.db").write_bytes(b"no database" * 1000)
    assert str(state_dir / "attendance.db") in refusal(sockets, state_dir)


def test_a_state_directory_that_is_a_file_is_refused_with_one_line(sockets, state_dir):
    state_dir.write_text("")
    assert str(state_dir) in refusal(sockets, state_dir)


def test_a_database_that_is_corrupt_further_in_is_refused_with_one_line(sockets, state_dir):
    with RunningServer(sockets, state_dir):
        pass
    with (state_dir / "attendance.db").open("r+b") as file:
        size_bytes = file.seek(0, 2)
        file.seek(4096)  # the first page, with the schema, is left as it is
        file.write(b"\xff" * (size_bytes - 4096))
    assert str(state_dir / "attendance.db") in refusal(sockets, state_dir)


def test_a_database_without_its_epoch_is_refused_with_one_line(sockets, state_dir):
    with RunningServer(sockets, state_dir):
        pass
    with closing(sqlite3.connect(state_dir / "attendance.db")) as connection, connection:
        connection.execute("DELETE FROM meta")
    assert "epoch" in refusal(sockets, state_dir)


def test_a_key_that_is_too_short_is_refused_with_one_line(sockets, state_dir):
    server = RunningServer(sockets, state_dir)
    server.context.authkey = b"short"
    with closing(server.context.http_socket), pytest.raises(ChildSetupError, match="authkey"):
        run(server.context)


# -- from other machines -------------------------------------------------------------------------------------------


def test_where_others_could_post_the_server_does_not_start_without_a_key(tmp_path, state_dir):
    sockets = Sockets(tmp_path, host="0.0.0.0")
    try:
        line = refusal(sockets, state_dir)
        assert "run.py devices add" in line
        assert str(state_dir) in line
        revoked = device_key(state_dir, "door")
        with device_store(state_dir) as devices:
            devices.revoke("door", 0)
        assert "no device has a key" in refusal(sockets, state_dir)
        assert revoked not in line
    finally:
        sockets.close()


def test_further_names_need_keys_on_loopback_too(sockets, state_dir):
    assert "--allowed-hosts axon.example" in refusal(sockets, state_dir, allowed_hosts=("axon.example",))
    key = device_key(state_dir, "proxy")
    with RunningServer(sockets, state_dir, allowed_hosts=("axon.example",)) as server:
        assert server.request("GET", "/readyz", headers={"Host": "axon.example"}).status == 401
        headers = {"Host": "axon.example", "Authorization": f"Bearer {key}"}
        assert server.request("GET", "/readyz", headers=headers).status == 200


def test_every_request_brings_a_key_until_it_is_revoked(tmp_path, state_dir):
    key = device_key(state_dir, "door")
    sockets = Sockets(tmp_path, host="0.0.0.0")
    with closing(sockets), RunningServer(sockets, state_dir) as server:
        assert server.post({"personId": "1"}).status == 401
        assert server.request("GET", "/healthz").status == 200
        with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=DEADLINE_S)) as connection:
            headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
            post = partial(ask, connection, "POST", "/api/attendance", b'{"personId": "1"}', headers)
            assert post().status == 201
            with device_store(state_dir) as devices:  # as another process would
                assert devices.all()[0].last_seen_ms is not None
                devices.revoke("door", 0)
            refused = post()
            assert refused.status == 401
            assert refused.headers["Www-Authenticate"].startswith("Bearer")
    assert rows(state_dir, "SELECT count(*) FROM marks") == [(1,)]


def test_a_child_without_its_sockets_is_refused(sockets, state_dir):
    server = RunningServer(sockets, state_dir)
    server.context.http_socket.close()
    server.context.http_socket = None
    with pytest.raises(ChildSetupError, match=r"run\.py"):
        run(server.context)
