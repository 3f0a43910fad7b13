"""People over HTTP: one at a time, listed, and from a file."""

import json

import pytest

from server_proc.json_body import MAX_BULK_BYTES
from tests.unit.server_proc.problem_answers import problem

BASE_URL = "http://localhost:1340"


@pytest.fixture
def put(client):
    def put(person_id, body):
        return client.put(f"/api/people/{person_id}", json=body, base_url=BASE_URL)

    return put


@pytest.fixture
def import_csv(client):
    def import_csv(data, content_type="text/csv"):
        data = data if isinstance(data, bytes) else data.encode()
        return client.post("/api/people:import", data=data, content_type=content_type, base_url=BASE_URL)

    return import_csv


def announced(services):
    encoded, _ = services.outbox.read(0, 1 << 24) if services.outbox.newest else (b"", 0)
    return [json.loads(line)["payload"] for line in encoded.split(b"\n") if line]


# -- one -----------------------------------------------------------------------------------------------------------


def test_a_person_is_created_changed_and_looked_up(put, get, clock, services):
    assert put("1", {"name": "Ada"}).status_code == 201
    clock.now_s += 60
    changed = put("1", {"name": "Ada L.", "group": "Staff"})
    assert changed.status_code == 200
    assert changed.json == {
        "personId": "1",
        "name": "Ada L.",
        "group": "Staff",
        "updatedAt": "2026-01-31T08:01:00.500Z",
    }
    assert get("/api/people/1").json == changed.json
    assert [(each["type"], each["name"]) for each in announced(services)] == [("person", "Ada"), ("person", "Ada L.")]
    assert services.hub.announced_at == [1, 2]


def test_the_same_again_changes_nothing_and_announces_nothing(put, clock, services):
    put("1", {"name": "Ada"})
    clock.now_s += 60
    again = put("1", {"name": "Ada"})
    assert (again.status_code, again.json["updatedAt"]) == (200, "2026-01-31T08:00:00.500Z")
    assert services.outbox.newest == 1


def test_nobody_is_a_404_problem(get):
    assert problem(get("/api/people/1"), 404) == []


@pytest.mark.parametrize(
    ("path", "person_id"),
    [
        ("a%20b", "a b"),
        ("a%2Fb", "a/b"),
        ("a/b", "a/b"),
        ("%2F", "/"),
        ("a%2F%2Fb%2F", "a//b/"),
        ("%E6%9D%B1%E4%BA%AC", "東京"),
        ("100%25", "100%"),
        ("%3Fx%3D1%23y", "?x=1#y"),
        ("a+b", "a+b"),
        ("x:import", "x:import"),
    ],
)
def test_any_text_may_be_an_id_percent_encoded(put, get, post, path, person_id):
    assert put(path, {"name": "Ada"}).json["personId"] == person_id
    assert get(f"/api/people/{path}").json["name"] == "Ada"
    assert post(body={"personId": person_id}).status_code == 201


def test_an_id_that_is_no_text_is_named(put, get):
    for path in ("%20", "a%0Ab", "x" * 129, "%E2%80%AE"):
        assert problem(get(f"/api/people/{path}"), 422) == ["personId"]
        assert problem(put(path, {"name": "Ada"}), 422) == ["personId"]


@pytest.mark.parametrize("raw", [b"\xff", b"\xc3", b"\xed\xa0\x80"])
@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_a_path_that_is_not_utf_8_is_400(client, method, raw):
    path = {"PATH_INFO": "/api/people/" + raw.decode("latin-1")}  # as WSGI has it
    problem(client.open(method=method, json={"name": "Ada"}, base_url=BASE_URL, environ_overrides=path), 400)


def test_wrong_fields_are_all_named_and_nothing_is_stored(put, services):
    assert problem(put("1", {"group": 5, "personId": "2"}), 422) == ["name", "group", "personId"]
    assert services.people.all() == []


def test_a_person_needs_json_within_the_limit(client, put):
    problem(client.put("/api/people/1", data="name=Ada", base_url=BASE_URL), 415)
    problem(put("1", {"name": "Ada", "padding": "x" * (64 << 10)}), 413)
    problem(put("1", [1]), 400)


# -- listed --------------------------------------------------------------------------------------------------------


def test_people_are_listed_by_id_in_pages(put, get):
    ids = ["10", "2", "Z", "a", "é"]
    for person_id in reversed(ids):
        put(person_id, {"name": f"n{person_id}"})
    seen, after = [], {}
    for _ in range(10):
        page = get("/api/people", limit=2, **after).json
        seen += [person["personId"] for person in page["people"]]
        if page["nextAfter"] is None:
            break
        after = {"after": page["nextAfter"]}
    assert seen == ids
    assert get("/api/people").json["nextAfter"] is None


def test_a_wrong_argument_of_the_list_is_named(get):
    assert problem(get("/api/people", limit=0, after="", group="x"), 422) == ["group", "after", "limit"]


# -- from a file ---------------------------------------------------------------------------------------------------


def test_a_file_is_stored_and_announced_in_one_transaction(put, get, import_csv, services, database):
    put("1", {"name": "Ada"})
    put("2", {"name": "Bob"})
    commits = []
    database._writer._connection.set_trace_callback(lambda sql: commits.append(sql) if sql == "COMMIT" else None)
    answer = import_csv("\ufeffid;name;group\r\n1;Ada;\r\n2;Bob;Staff\r\n3;Eve;\r\n")
    assert (answer.status_code, answer.json) == (200, {"created": 1, "updated": 1, "unchanged": 1})
    assert [person["group"] for person in get("/api/people").json["people"]] == [None, "Staff", None]
    assert len(commits) == 1
    assert [each["personId"] for each in announced(services)] == ["1", "2", "2", "3"]
    assert services.hub.announced_at[-1] == 4


def test_the_same_file_again_changes_nothing(import_csv, services):
    import_csv("id,name\n1,Ada\n")
    assert import_csv("id,name\n1,Ada\n").json == {"created": 0, "updated": 0, "unchanged": 1}
    assert services.outbox.newest == 1


def test_wrong_lines_are_listed_with_their_numbers_and_nobody_is_stored(import_csv, services):
    answer = import_csv("id,name\n1,Ada\n2,\n3,Eve\n,\n,Bob\n")
    assert problem(answer, 422) == ["name", "personId"]
    assert [error["line"] for error in answer.json["errors"]] == [3, 6]
    assert answer.json["detail"] == "Wrong: name on line 3, personId on line 6."
    assert services.people.all() == []


@pytest.mark.parametrize("content_type", [None, "application/json", "application/csv", "multipart/form-data"])
def test_another_content_type_is_415_naming_the_right_one(import_csv, content_type):
    answer = import_csv("id,name\n1,Ada\n", content_type=content_type)
    problem(answer, 415)
    assert "text/csv" in answer.json["detail"]


def test_a_content_type_may_say_its_charset(import_csv):
    assert import_csv("id,name\n1,Ada\n", content_type="text/csv; charset=utf-8; header=present").status_code == 200


def test_a_file_over_the_limit_is_413(import_csv):
    problem(import_csv(b"id,name\n1," + b"x" * MAX_BULK_BYTES), 413)
