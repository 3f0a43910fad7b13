"""RFC 9457 problems."""

import json

import pytest

from server_proc.problems import FieldError, ProblemError, WrongFieldsError, both, encode_problem, status_line


def test_a_problem_has_the_members_of_rfc_9457_and_the_request_id():
    body = json.loads(encode_problem(ProblemError(415, "Send JSON."), "abc"))
    assert body == {
        "type": "about:blank",
        "title": "Unsupported Media Type",
        "status": 415,
        "detail": "Send JSON.",
        "errors": [],
        "requestId": "abc",
    }


def test_wrong_fields_are_all_listed_and_named_in_the_detail():
    problem = WrongFieldsError([FieldError("personId", "is required"), FieldError("source", "must not be blank")])
    body = json.loads(encode_problem(problem))
    assert body["status"] == 422
    assert body["detail"] == "Wrong: personId, source."
    assert body["errors"] == [
        {"field": "personId", "message": "is required"},
        {"field": "source", "message": "must not be blank"},
    ]
    assert "requestId" not in body


def test_the_status_line_is_what_wsgi_wants():
    assert status_line(404) == "404 Not Found"


def wrong(field):
    def read():
        raise WrongFieldsError([FieldError(field, "is wrong")])

    return read


def test_of_two_readings_the_wrong_fields_of_either_are_listed():
    assert both(lambda: 1, lambda: 2) == (1, 2)
    for first, second, fields in (
        (wrong("a"), lambda: 2, ["a"]),
        (lambda: 1, wrong("b"), ["b"]),
        (wrong("a"), wrong("b"), ["a", "b"]),
    ):
        with pytest.raises(WrongFieldsError) as caught:
            both(first, second)
        assert [error.field for error in caught.value.errors] == fields
