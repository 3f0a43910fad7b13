"""The HTTP API as a client sees it, without a socket."""

import json
import threading

import pytest
from structlog.testing import capture_logs

from server_proc.app import create_app, rehearse
from server_proc.database_errors import DatabaseBusyError, DatabaseFullError, DatabaseUnusableError
from server_proc.services import Services
from server_proc.store import MarkQuery
from tests.unit.server_proc.problem_answers import problem
from tests.unit.server_proc.running_server import DEADLINE_S

# -- POST /api/attendance ------------------------------------------------------------------------------------------


def test_a_mark_is_answered_201_with_what_was_stored_and_announced(post, services):
    answer = post(body={"personId": "12345"})
    assert answer.status_code == 201
    body = answer.json
    assert len(body.pop("id")) == 36
    assert body == {
        "type": "attendance",
        "markSeq": 1,
        "personId": "12345",
        "timestamp": "2026-01-31T08:00:00.500Z",
        "receivedAt": "2026-01-31T08:00:00.500Z",
        "source": None,
        "voided": False,
        "voidReason": None,
    }
    assert services.hub.announced_at == [1]
    encoded, _ = services.outbox.read(0, 10_000)
    announced = json.loads(encoded)["payload"]
    assert announced.pop("requestId") == answer.headers["X-Request-Id"]
    assert announced == answer.json


@pytest.mark.parametrize("path", ["/api/attendance", "/api/messages"])
def test_what_is_posted_is_announced_before_it_is_answered(post, services, monkeypatch, path):
    announcing, may_go_on = threading.Event(), threading.Event()

    def announce():
        announcing.set()
        assert may_go_on.wait(DEADLINE_S)

    monkeypatch.setattr(services.hub, "announce", announce)
    poster = threading.Thread(target=post, args=(path, {"personId": "12345"}))
    poster.start()
    assert announcing.wait(DEADLINE_S)
    poster.join(0.1)
    assert poster.is_alive()
    may_go_on.set()
    poster.join(DEADLINE_S)
    assert not poster.is_alive()


def test_the_clients_own_request_id_comes_back_and_follows_the_mark(post, services):
    answer = post(body={"personId": "12345"}, headers={"X-Request-Id": "reader-7:42"})
    assert answer.headers["X-Request-Id"] == "reader-7:42"
    assert json.loads(services.outbox.read(0, 10_000)[0])["payload"]["requestId"] == "reader-7:42"


def test_the_same_id_again_is_answered_200_with_the_same_body_and_not_announced_again(post, services, clock):
    body = {"personId": "12345", "id": "a"}
    first = post(body=body)
    clock.now_s += 60
    again = post(body=body)
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.data == first.data
    assert services.hub.announced_at == [1]


def test_the_same_id_for_another_person_is_422_naming_the_person(post, services):
    post(body={"personId": "1", "id": "a"})
    assert problem(post(body={"personId": "2", "id": "a"}), 422) == ["personId"]
    assert len(services.store.list_marks(MarkQuery())) == 1


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, ["personId"]),
        ({"personId": ""}, ["personId"]),
        ({"personId": 12345}, ["personId"]),
        ({"personId": "1", "timestamp": "2026-01-31T08:00:00"}, ["timestamp"]),
        ({"personId": "1", "timestamp": "2026-02-28T08:00:00Z"}, ["timestamp"]),
        (
            {"personId": None, "timestamp": 5, "source": "", "id": {}},
            ["personId", "id", "source", "timestamp"],
        ),
    ],
)
def test_wrong_fields_are_422_and_nothing_is_stored(post, services, body, fields):
    assert sorted(problem(post(body=body), 422)) == sorted(fields)
    assert services.store.list_marks(MarkQuery()) == []
    assert services.hub.announced_at == []


@pytest.mark.parametrize("body", [b"", b"{", b"personId=1", b"[]", b'"x"', b"null", b'{"personId": "\xff"}'])
def test_what_is_no_json_object_is_400_and_nothing_is_stored(post, services, body):
    assert problem(post(body=body), 400) == []
    assert services.store.list_marks(MarkQuery()) == []


@pytest.mark.parametrize(
    "content_type", [None, "", "text/plain", "application/x-www-form-urlencoded", "application/jsonp", "x"]
)
@pytest.mark.parametrize("path", ["/api/attendance", "/api/messages"])
def test_another_content_type_is_415(post, services, path, content_type):
    problem(post(path, body={"personId": "1"}, content_type=content_type), 415)
    assert services.outbox.newest == 0


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "Application/JSON"])
def test_a_content_type_may_have_parameters_and_any_case(post, content_type):
    assert post(body={"personId": "1"}, content_type=content_type).status_code == 201


def body_of(size_bytes):
    empty = len(json.dumps({"personId": "1", "padding": ""}))
    return json.dumps({"personId": "1", "padding": "x" * (size_bytes - empty)}).encode()


def test_a_body_of_64_kib_is_allowed_and_one_byte_more_is_413(post, services):
    assert post(body=body_of(64 * 1024)).status_code == 201
    problem(post(body=body_of(64 * 1024 + 1)), 413)
    assert len(services.store.list_marks(MarkQuery())) == 1


def test_a_full_disk_is_507_and_an_unusable_database_503(post, services, monkeypatch):
    for error, status in (
        (DatabaseFullError("full"), 507),
        (DatabaseUnusableError("secret path"), 503),
        (DatabaseBusyError("secret lock"), 503),
    ):

        def fail(*_arguments, error=error):
            raise error

        with monkeypatch.context() as patch, capture_logs() as logs:
            patch.setattr(type(services.store), "record_many", fail)
            answer = post(body={"personId": "1"})
        problem(answer, status)
        assert "secret" not in answer.text
        (line,) = [line for line in logs if line["event"] == "request_failed"]
        assert line["reason"] == str(error)
        assert line["request_id"] == answer.headers["X-Request-Id"]
        assert services.hub.announced_at == []


# -- GET /api/attendance -------------------------------------------------------------------------------------------


def test_marks_are_paged_by_cursor(post, get):
    posted = [post(body={"personId": str(n)}).json for n in range(5)]
    first = get("/api/attendance", limit=3).json
    assert first == {"marks": posted[:3], "nextAfterSeq": 3}
    second = get("/api/attendance", limit=3, after_seq=first["nextAfterSeq"]).json
    assert second == {"marks": posted[3:], "nextAfterSeq": 5}
    assert get("/api/attendance", after_seq=5).json == {"marks": [], "nextAfterSeq": 5}


def test_marks_are_filtered_by_person_and_time(post, get):
    for hour in ("07", "08"):
        for person in ("a", "b"):
            post(body={"personId": person, "timestamp": f"2026-01-31T{hour}:00:00Z"})
    answer = get("/api/attendance", person="b", **{"from": "2026-01-31T09:00:00+01:00"})
    assert [(mark["personId"], mark["timestamp"][11:13]) for mark in answer.json["marks"]] == [("b", "08")]


def test_wrong_arguments_are_422_all_named(get):
    answer = get("/api/attendance", limit="many", after_seq=-1, to="noon")
    assert sorted(problem(answer, 422)) == ["after_seq", "limit", "to"]


# -- POST /api/messages --------------------------------------------------------------------------------------------


def test_a_message_is_broadcast_as_it_is(post, services):
    payload = {"type": "news", "nested": {"a": [1, None, "é"]}}
    answer = post("/api/messages", body=payload)
    assert (answer.status_code, answer.json) == (202, {"clients": 2, "seq": 1})
    assert services.hub.announced_at == [1]
    assert json.loads(services.outbox.read(0, 10_000)[0])["payload"] == payload


def test_a_message_may_not_pass_itself_off_as_a_mark(post, services):
    assert problem(post("/api/messages", body={"type": "attendance", "personId": "1"}), 422) == ["type"]
    assert services.outbox.newest == 0


@pytest.mark.parametrize("kind", [{}, [], None, 5])
def test_a_message_may_have_a_type_that_is_no_text(post, kind):
    assert post("/api/messages", body={"type": kind}).status_code == 202


@pytest.mark.parametrize("body", [b"[]", b"nonsense", b'{"a":' * 500 + b"1" + b"}" * 500])
def test_a_message_that_is_no_plain_object_is_400(post, services, body):
    problem(post("/api/messages", body=body), 400)
    assert services.outbox.newest == 0


def test_a_message_that_cannot_travel_is_422(post, services, monkeypatch):
    monkeypatch.setattr(services.outbox, "_max_frame_bytes", 1000)
    answer = post("/api/messages", body={"text": "x" * 1000})
    assert problem(answer, 422) == ["payload"]
    assert services.outbox.newest == 0
    assert services.hub.announced_at == []


# -- health --------------------------------------------------------------------------------------------------------


def test_healthz_does_no_io(get, database):
    database.close()
    answer = get("/healthz")
    assert (answer.status_code, answer.json) == (200, {"status": "ok"})


def test_readyz_is_200_when_database_and_ipc_work(get):
    answer = get("/readyz")
    assert (answer.status_code, answer.json) == (200, {"status": "ready"})


def test_readyz_is_503_with_every_reason(get, services, monkeypatch):
    def fail(_self, _patience_s):
        raise DatabaseUnusableError("disk I/O error")

    monkeypatch.setattr(type(services.database), "check_writable", fail)
    services.hub.is_serving = False
    answer = get("/readyz")
    assert answer.status_code == 503
    assert answer.json == {
        "status": "unready",
        "reasons": ["database: disk I/O error", "ipc: not accepting clients"],
    }


def test_readyz_is_503_while_the_disk_is_nearly_full(get, monkeypatch):
    monkeypatch.setattr("server_proc.blueprints.health.MIN_FREE_BYTES", 1 << 60)
    answer = get("/readyz")
    assert answer.status_code == 503
    (reason,) = answer.json["reasons"]
    assert reason.startswith("disk: ")


def test_readyz_is_503_while_the_database_takes_nothing(get, database):
    with database.write() as transaction:
        transaction.connection.execute("PRAGMA query_only = ON")
    answer = get("/readyz")
    assert answer.status_code == 503
    (reason,) = answer.json["reasons"]
    assert reason.startswith("database: ")


# -- figures -------------------------------------------------------------------------------------------------------


def test_metrics_are_text_and_openmetrics_if_asked_for(get, client):
    plain = get("/metrics")
    assert plain.status_code == 200
    assert plain.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert b"axon_build_info{" in plain.data
    accept = {"Accept": "application/openmetrics-text; version=1.0.0, text/plain;q=0.5"}
    answer = client.get("/metrics", headers=accept, base_url="http://localhost:1340")
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0; charset=utf-8")
    assert answer.data.endswith(b"# EOF\n")


def test_marks_and_requests_are_counted(post, services):
    post(body={"personId": "1", "id": "a"})
    post(body={"personId": "1", "id": "a"})
    post(body={"personId": "2", "id": "a"})
    post(body={})
    post("/nowhere", body={})
    count = services.metrics.registry.get_sample_value
    assert [count("axon_marks_total", {"result": each}) for each in ("duplicate", "rejected")] == [1, 2]
    labels = {"method": "POST", "route": "/api/attendance"}
    for status, expected in (("201", 1), ("200", 1), ("422", 2)):
        assert count("axon_http_requests_total", {**labels, "status": status}) == expected
    assert count("axon_http_requests_total", {"method": "POST", "route": "(none)", "status": "404"}) == 1


# -- everything else -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/api", "/static/x.js", "/api/attendance/", "/api//attendance", "/favicon.ico"])
def test_an_unknown_path_is_a_404_problem(get, path):
    problem(get(path), 404)


@pytest.mark.parametrize(
    ("method", "path"), [("DELETE", "/api/attendance"), ("GET", "/api/messages"), ("PUT", "/healthz")]
)
def test_a_wrong_method_is_a_405_problem_with_the_right_ones(client, method, path):
    answer = client.open(path, method=method, base_url="http://localhost:1340")
    problem(answer, 405)
    assert answer.headers["Allow"]


def test_an_unforeseen_error_is_a_500_problem_without_internals_and_logged_with_its_traceback(
    post, services, monkeypatch
):
    def fail(*_arguments):
        raise ZeroDivisionError("internal detail")

    monkeypatch.setattr(type(services.store), "record_many", fail)
    with capture_logs() as logs:
        answer = post(body={"personId": "1"})
    problem(answer, 500)
    assert "internal" not in answer.text.lower().replace("internal server error", "")
    assert "Zero" not in answer.text
    (line,) = [line for line in logs if line["event"] == "request_failed"]
    assert line["exc_info"]
    assert line["request_id"] == answer.headers["X-Request-Id"]


def test_a_foreign_host_is_a_403_problem_and_logged(client, services):
    with capture_logs() as logs:
        answer = client.post("/api/attendance", json={"personId": "1"}, base_url="http://evil.example:1340")
    problem(answer, 403)
    assert services.outbox.newest == 0
    (line,) = [line for line in logs if line["event"] == "request_handled"]
    assert (line["status"], line["route"]) == (403, None)


def test_a_foreign_origin_is_a_403_problem(post, services):
    problem(post(body={"personId": "1"}, headers={"Origin": "http://evil.example"}), 403)
    assert services.outbox.newest == 0


def test_the_log_names_the_route_and_no_person(post, get):
    with capture_logs() as logs:
        post(body={"personId": "secret-person"})
        get("/api/attendance", person="secret-person")
        get("/secret-person")
    handled = [line for line in logs if line["event"] == "request_handled"]
    assert [(line["method"], line["route"], line["status"]) for line in handled] == [
        ("POST", "/api/attendance", 201),
        ("GET", "/api/attendance", 200),
        ("GET", None, 404),
    ]
    assert "secret-person" not in repr(logs)


def test_there_is_no_debugger(services, monkeypatch):
    monkeypatch.setenv("FLASK_DEBUG", "1")
    monkeypatch.setenv("FLASK_ENV", "development")
    assert not create_app(services).debug


@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS", "HEAD", "DELETE"])
@pytest.mark.parametrize("path", ["/healthz", "/api/attendance", "/nowhere"])
@pytest.mark.parametrize("origin", ["http://evil.example", "http://localhost:1340", "null"])
def test_no_page_is_ever_allowed_in_by_cors(client, method, path, origin):
    asked = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Private-Network": "true",
    }
    answer = client.open(path, method=method, headers=asked, base_url="http://localhost:1340")
    assert not [name for name, _ in answer.headers if name.lower().startswith("access-control")]
    assert (answer.status_code == 403) == (origin != "http://localhost:1340")


@pytest.mark.parametrize(("path", "field"), [("/api/attendance", "person"), ("/api/people", "after")])
@pytest.mark.parametrize("text", ["%FF", "a%C3", "%ED%B3%BF"])
def test_a_text_in_a_query_that_is_not_utf_8_is_422_by_name(client, path, field, text):
    answer = client.get(path, query_string=f"{field}={text}", base_url="http://localhost:1340")
    assert problem(answer, 422) == [field]
    assert "UTF-8" in answer.json["errors"][0]["message"]
    answer = client.get(path, query_string=f"{text}=1", base_url="http://localhost:1340")
    assert problem(answer, 422)[0].isprintable()
    for right in ("%25FF", "%C3%AB+b", "Zo\u00eb"):
        query = f"{field}={right}&limit=7"
        assert client.get(path, query_string=query, base_url="http://localhost:1340").status_code == 200


def test_an_application_is_made_and_rehearsed_before_there_is_a_database():
    app = create_app(Services())
    answered = []
    app.after_request(lambda response: answered.append(response.status_code) or response)
    rehearse(app)
    assert answered == [200]
