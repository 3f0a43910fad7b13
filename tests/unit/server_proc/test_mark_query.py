"""The query string of GET /api/attendance."""

import pytest

from server_proc.mark_query import parse_mark_query
from server_proc.problems import WrongFieldsError
from server_proc.store import MarkQuery


def test_nothing_asked_is_the_first_hundred():
    assert parse_mark_query([]) == MarkQuery(after_seq=0, limit=100)


def parse(arguments):
    return parse_mark_query(arguments.items())


def test_everything_asked_is_taken():
    arguments = {
        "after_seq": "17",
        "limit": "1000",
        "person": "12345",
        "from": "2026-01-31T00:00:00Z",
        "to": "2026-02-01T00:00:00+01:00",
    }
    assert parse(arguments) == MarkQuery(
        after_seq=17, limit=1000, person_id="12345", from_ms=1_769_817_600_000, to_ms=1_769_900_400_000
    )


def test_an_unescaped_plus_which_a_url_turns_into_a_blank_is_understood():
    blank = parse({"from": "2026-01-31 09:00:00 01:00"})
    assert blank == parse({"from": "2026-01-31T08:00:00Z"})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("after_seq", "-1"),
        ("after_seq", "1.0"),
        ("after_seq", ""),
        ("after_seq", "٣"),
        ("after_seq", "9223372036854775808"),
        ("after_seq", "9" * 5000),
        ("limit", "0"),
        ("limit", "1001"),
        ("limit", "ten"),
        ("person", " "),
        ("person", "x" * 129),
        ("from", "2026-01-31"),
        ("to", "2026-01-31T00:00:00"),
    ],
)
def test_a_wrong_argument_is_named(name, value):
    with pytest.raises(WrongFieldsError) as caught:
        parse({name: value})
    assert [error.field for error in caught.value.errors] == [name]


def test_every_wrong_argument_is_listed():
    with pytest.raises(WrongFieldsError) as caught:
        parse({"after_seq": "x", "limit": "x", "person": "", "from": "x", "to": "x"})
    fields = {error.field for error in caught.value.errors}
    assert fields == {"after_seq", "limit", "person", "from", "to"}


def test_an_unknown_argument_is_named_with_those_that_there_are():
    with pytest.raises(WrongFieldsError) as caught:
        parse({"afterSeq": "7"})
    (error,) = caught.value.errors
    assert error.field == "afterSeq"
    assert "after_seq" in error.message


def test_an_argument_that_is_given_twice_is_named():
    with pytest.raises(WrongFieldsError) as caught:
        parse_mark_query([("person", "1"), ("person", "2")])
    assert [(error.field, error.message) for error in caught.value.errors] == [("person", "must be given once")]
