"""Asking for the same twice over HTTP: by id, by Idempotency-Key, by a batch; and what the bytes of the answers are."""

import gc
import json
import threading
import weakref

import msgspec
import pytest
from werkzeug.test import Client

from server_proc.app import create_app
from server_proc.json_body import MAX_BULK_BYTES
from server_proc.main import make_wsgi_app
from server_proc.store import MarkQuery, MarkStore
from server_proc.voids import NewVoid
from tests.unit.ipc.channel import eventually
from tests.unit.server_proc.problem_answers import problem

BATCH = "/api/attendance:batch"


@pytest.fixture
def services(services, database, outbox):
    """The product's own cool-down."""
    return msgspec.structs.replace(services, store=MarkStore(database, outbox, 60_000))


def stored(services):
    return services.store.list_marks(MarkQuery(limit=1000))


def keyed(key):
    return {"headers": {"Idempotency-Key": key}}


# -- by id and by cool-down ----------------------------------------------------------------------------------------


def test_a_duplicate_is_200_with_the_mark_that_stands_and_says_so(post, services):
    first = post(body={"personId": "1"})
    again = post(body={"personId": "1", "id": "new", "source": "gate"})
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json == {**first.json, "duplicate": True}
    assert "duplicate" not in first.json
    assert len(stored(services)) == 1
    assert services.hub.announced_at == [1]


def test_what_was_answered_to_the_id_of_a_duplicate_is_answered_again(post, clock):
    post(body={"personId": "1"})
    clock.now_s += 59
    once = post(body={"personId": "1", "id": "b"})
    clock.now_s += 10
    again = post(body={"personId": "1", "id": "b"})
    assert (again.status_code, again.data) == (200, once.data)


def test_a_void_that_has_come_since_changes_no_answer(post, get, services):
    bodies = [{"personId": "1", "id": "a"}, {"personId": "1", "id": "b"}]
    first = [post(body=body).json for body in bodies]
    services.voids.void(NewVoid(reason="wrong card", mark_id="a"), services.now_ms())
    assert [post(body=body).json for body in bodies] == first
    assert get("/api/attendance").json["marks"] == [{**first[0], "voided": True, "voidReason": "wrong card"}]


@pytest.mark.parametrize(
    ("change", "field"),
    [({"personId": "2"}, "personId"), ({"source": "gate"}, "source"), ({"timestamp": None}, "timestamp")],
)
def test_another_body_under_an_id_is_422_naming_what_differs(post, services, change, field):
    body = {"personId": "1", "id": "a", "source": "door", "timestamp": "2026-01-31T07:00:00Z"}
    post(body=body)
    answer = post(body=body | change)
    assert problem(answer, 422) == [field]
    assert "under this id before" in answer.json["errors"][0]["message"]
    assert len(stored(services)) == 1


# -- by Idempotency-Key --------------------------------------------------------------------------------------------


def test_a_repeated_key_is_answered_200_with_the_same_bytes_and_stored_once(post, services, clock):
    body = {"personId": "1"}
    first = post(body=body, **keyed("k"))
    clock.now_s += 3600
    again = post(body=body, **keyed("k"))
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.data == first.data
    assert again.headers["Content-Type"] == "application/json"
    assert len(stored(services)) == 1
    assert services.hub.announced_at == [1]


def test_a_repeated_key_repeats_the_answer_to_a_duplicate_too(post, clock):
    post(body={"personId": "1"})
    once = post(body={"personId": "1"}, **keyed("k"))
    clock.now_s += 3600
    assert post(body={"personId": "1"}, **keyed("k")).data == once.data
    assert once.json["duplicate"]


def test_a_repeated_key_with_another_body_is_422_and_says_so(post, services):
    post(body={"personId": "1"}, **keyed("k"))
    for body in ({"personId": "2"}, {"personId": "1", "source": "door"}):
        answer = post(body=body, **keyed("k"))
        assert problem(answer, 422) == ["Idempotency-Key"]
        assert "another body" in answer.json["errors"][0]["message"]
    assert problem(post(BATCH, body={"marks": [{"personId": "1"}]}, **keyed("k")), 422) == ["Idempotency-Key"]
    assert len(stored(services)) == 1


def test_a_refused_request_does_not_use_up_its_key(post):
    problem(post(body={"personId": ""}, **keyed("k")), 422)
    assert post(body={"personId": "1"}, **keyed("k")).status_code == 201


def test_key_and_id_together_are_both_remembered(post, services, clock):
    body = {"personId": "1", "id": "a"}
    first = post(body=body, **keyed("k"))
    clock.now_s += 3600
    assert post(body=body, **keyed("k")).data == first.data
    assert post(body=body).data == first.data
    assert post(body=body, **keyed("l")).data == first.data
    assert problem(post(body={"personId": "1", "id": "b"}, **keyed("k")), 422) == ["Idempotency-Key"]
    assert problem(post(body={"personId": "2", "id": "a"}, **keyed("m")), 422) == ["personId"]
    assert len(stored(services)) == 1


@pytest.mark.parametrize("key", ["", "x" * 256])
def test_a_key_that_is_none_is_422(post, services, key):
    assert problem(post(body={"personId": "1"}, **keyed(key)), 422) == ["Idempotency-Key"]
    assert stored(services) == []


def test_a_wrong_key_and_wrong_fields_are_listed_in_one_answer(post):
    options = keyed("x" * 300)
    assert problem(post(body={"personId": 5}, **options), 422) == ["personId", "Idempotency-Key"]
    assert problem(post(BATCH, body={"marks": []}, **options), 422) == ["marks", "Idempotency-Key"]


def test_a_key_and_its_mark_are_stored_together_or_not_at_all(post, services, database):
    with database.write() as transaction:
        transaction.connection.execute(
            "CREATE TRIGGER full BEFORE INSERT ON idempotency BEGIN SELECT raise(ABORT, 'no'); END"
        )
    problem(post(body={"personId": "1"}, **keyed("k")), 500)
    assert stored(services) == []
    assert services.outbox.newest == 0
    assert services.hub.announced_at == []


@pytest.mark.parametrize("options", [{}, keyed("k")])
def test_of_many_at_once_exactly_one_is_created_and_all_get_its_bytes(services, options):
    count = 16
    start = threading.Barrier(count)
    answers = []

    def send():
        client = Client(make_wsgi_app(create_app(services), services, ("127.0.0.1", 1340)))
        start.wait(10)
        body = json.dumps({"personId": "1", "id": "a"})
        answers.append(
            client.post(
                "/api/attendance",
                data=body,
                content_type="application/json",
                base_url="http://localhost:1340",
                **options,
            )
        )

    threads = [threading.Thread(target=send) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(answer.status_code for answer in answers) == [200] * (count - 1) + [201]
    assert len({answer.data for answer in answers}) == 1
    assert len(stored(services)) == 1


# -- by batch ------------------------------------------------------------------------------------------------------


def marks(*people):
    return {"marks": [{"personId": person, "id": f"id-{person}"} for person in people]}


def test_a_batch_is_stored_in_one_transaction_and_announced_once(post, services, database):
    commits = []
    database._writer._connection.set_trace_callback(lambda sql: commits.append(sql) if sql == "COMMIT" else None)
    answer = post(BATCH, body=marks("1", "2", "3"))
    assert answer.status_code == 200
    assert (answer.json["created"], answer.json["duplicate"], answer.json["rejected"]) == (3, 0, 0)
    assert [result["mark"]["markSeq"] for result in answer.json["results"]] == [1, 2, 3]
    assert len(commits) == 1
    assert services.hub.announced_at == [3]


def test_a_batch_that_is_sent_again_is_all_duplicates_with_the_same_marks(post, services, clock):
    first = post(BATCH, body=marks("1", "2"))
    clock.now_s += 3600
    again = post(BATCH, body=marks("1", "2"))
    assert [result["result"] for result in again.json["results"]] == ["duplicate", "duplicate"]
    assert [result["mark"] for result in again.json["results"]] == [result["mark"] for result in first.json["results"]]
    assert len(stored(services)) == 2
    assert services.hub.announced_at == [2]


def test_a_batch_with_a_key_is_answered_with_the_same_bytes(post, services, clock):
    body = {"marks": [{"personId": "1"}, {"personId": ""}]}
    first = post(BATCH, body=body, **keyed("k"))
    clock.now_s += 3600
    again = post(BATCH, body=body, **keyed("k"))
    assert (first.status_code, again.status_code) == (200, 200)
    assert again.data == first.data
    assert len(stored(services)) == 1


@pytest.mark.parametrize("options", [{}, keyed("k")])
def test_a_repeated_batch_counts_as_many_marks_as_it_has(post, services, options):
    def counted():
        results = ("duplicate", "rejected")
        return [services.metrics.registry.get_sample_value("axon_marks_total", {"result": each}) for each in results]

    body = {"marks": [*marks("1", "2", "3")["marks"], {"personId": "1"}, {"personId": ""}]}
    post(BATCH, body=body, **options)
    assert counted() == [1, 1]
    post(BATCH, body=body, **options)
    assert counted() == [5, 2]


@pytest.mark.parametrize("person", ["1", "2"])
def test_a_repeated_mark_with_a_key_counts_one_duplicate(post, services, person):
    post(body={"personId": "1"})
    before = services.metrics.registry.get_sample_value("axon_marks_total", {"result": "duplicate"})
    for _ in range(2):
        post(body={"personId": person}, **keyed("k"))
    after = services.metrics.registry.get_sample_value("axon_marks_total", {"result": "duplicate"})
    assert after - before == {"1": 2, "2": 1}[person]


def test_wrong_marks_are_rejected_with_their_fields_and_the_others_stored(post, services):
    post(body={"personId": "9", "id": "taken"})
    body = {
        "marks": [
            {"personId": "1"},
            {"personId": 5, "timestamp": "2026-01-31T08:00:00"},
            [],
            {"personId": "2", "id": "taken"},
            {"personId": "1"},
            {"personId": "3", "id": "same"},
            {"personId": "3", "id": "same"},
        ]
    }
    results = post(BATCH, body=body).json["results"]
    assert [result["result"] for result in results] == [
        "created",
        "rejected",
        "rejected",
        "rejected",
        "duplicate",
        "created",
        "duplicate",
    ]
    fields = [[error["field"] for error in result.get("errors", [])] for result in results]
    assert fields == [[], ["personId", "timestamp"], ["mark"], ["personId"], [], [], []]
    assert results[4]["mark"] == results[0]["mark"]
    assert [mark.person_id for mark in stored(services)] == ["9", "1", "3"]


def test_a_batch_that_cannot_be_stored_stores_nothing(post, services, database):
    with database.write() as transaction:
        transaction.connection.execute(
            "CREATE TRIGGER full BEFORE INSERT ON marks WHEN NEW.person_id = '3' BEGIN SELECT raise(ABORT, 'no'); END"
        )
    problem(post(BATCH, body=marks("1", "2", "3")), 500)
    assert stored(services) == []
    assert services.outbox.newest == 0


def test_500_of_the_longest_marks_fit_and_501_do_not(post, services):
    def longest(n):
        text = f"{n:03}" + "\N{GRINNING FACE}" * 125
        return {"personId": text, "id": text, "source": text, "timestamp": "2026-01-31T07:59:00.123456789+01:00"}

    def body(count):
        return json.dumps({"marks": [longest(n) for n in range(count)]}, ensure_ascii=False).encode()

    assert 64 << 10 < len(body(500)) <= MAX_BULK_BYTES
    assert post(BATCH, body=body(500)).json["created"] == 500
    assert problem(post(BATCH, body=body(501)), 422) == ["marks"]
    assert len(stored(services)) == 500


def test_a_batch_over_its_limit_is_413_naming_that_limit(post, services):
    padding = "x" * MAX_BULK_BYTES
    answer = post(BATCH, body={"marks": [{"personId": "1", "padding": padding}]})
    problem(answer, 413)
    assert str(MAX_BULK_BYTES) in answer.json["detail"]
    assert stored(services) == []


def test_what_was_refused_is_not_kept_until_somebody_collects_it(post, services, monkeypatch):
    submit, futures = services.database.submit, []

    def submit_and_watch(*arguments):
        future = submit(*arguments)
        futures.append(weakref.ref(future))
        return future

    monkeypatch.setattr(services.database, "submit", submit_and_watch)
    gc.disable()
    try:
        answers = [post(body={"id": "one", "personId": person}) for person in ("12345", "67890")]
        assert [answer.status_code for answer in answers] == [201, 422]
        eventually(lambda: [future() for future in futures] == [None, None])
    finally:
        gc.enable()
