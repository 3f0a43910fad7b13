"""What a body must hold to become a mark."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server_proc.marks import Mark, NewMark, conflicts, mark_announcement, mark_message, parse_new_mark
from server_proc.problems import WrongFieldsError

NOW_MS = 1_769_846_400_500
STORED = Mark(mark_seq=7, id="a", person_id="12345", timestamp_ms=NOW_MS - 5000, received_ms=NOW_MS, source="door")


def faults(body, now_ms=NOW_MS):
    with pytest.raises(WrongFieldsError) as caught:
        parse_new_mark(body, now_ms)
    return {error.field: error.message for error in caught.value.errors}


def test_a_person_is_enough():
    assert parse_new_mark({"personId": "12345"}, NOW_MS) == NewMark(person_id="12345")


def test_everything_given_is_taken_and_unknown_fields_are_ignored():
    body = {
        "personId": "Zoë 12",
        "id": "reader-1:99",
        "source": "door",
        "timestamp": "2026-01-31T09:00:00+01:00",
        "confidence": 0.98,
    }
    expected = NewMark(person_id="Zoë 12", id="reader-1:99", source="door", timestamp_ms=1_769_846_400_000)
    assert parse_new_mark(body, NOW_MS) == expected


def test_an_announcement_names_the_request_that_asked_for_the_mark():
    assert mark_announcement(STORED, None) == mark_message(STORED)
    assert mark_announcement(STORED, "r-1") == {**mark_message(STORED), "requestId": "r-1"}


def test_null_is_the_same_as_left_out():
    body = {"personId": "1", "id": None, "source": None, "timestamp": None}
    assert parse_new_mark(body, NOW_MS) == NewMark(person_id="1")


@pytest.mark.parametrize("body", [{}, {"personId": None}, {"personid": "1"}])
def test_a_missing_person_is_said_to_be_required(body):
    assert faults(body) == {"personId": 'is required: a text such as "12345"'}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (12345, "must be a string, not a number"),
        (1.5, "must be a string, not a number"),
        (True, "must be a string, not a boolean"),
        (["1"], "must be a string, not an array"),
        ({"a": 1}, "must be a string, not an object"),
        ("", "must not be blank"),
        (" \t\u3000", "must not be blank"),
        ("x" * 129, "must have at most 128 characters, has 129"),
        ("12\n345", "must not have control characters, line separators or lone surrogates"),
        ("12\x00", "must not have control characters, line separators or lone surrogates"),
        ("12\x85", "must not have control characters, line separators or lone surrogates"),
        ("12\u2028", "must not have control characters, line separators or lone surrogates"),
        ("12\ud800", "must not have control characters, line separators or lone surrogates"),
        ("\u202egnp.exe", "must not have characters that change the direction of text"),
        ("\u200b\u3164", "must not be blank: none of its characters can be seen"),
    ],
)
@pytest.mark.parametrize("field", ["personId", "id", "source"])
def test_a_wrong_text_is_named_with_what_would_be_right(field, value, message):
    assert faults({"personId": "1", field: value}) == {field: message}


def test_128_characters_are_allowed_however_many_bytes_they_have():
    assert parse_new_mark({"personId": "é" * 128}, NOW_MS).person_id == "é" * 128


def test_every_wrong_field_is_listed_at_once():
    body = {"personId": "", "timestamp": "2026-01-31T08:00:00", "source": 3, "id": []}
    assert set(faults(body)) == {"personId", "timestamp", "source", "id"}


@pytest.mark.parametrize("timestamp", ["2026-01-31T08:00:00", "yesterday", "", 1769846400, {}, False])
def test_a_wrong_timestamp_is_named(timestamp):
    assert set(faults({"personId": "1", "timestamp": timestamp})) == {"timestamp"}


def test_a_timestamp_from_before_a_clock_was_set_is_refused():
    assert "check the clock" in faults({"personId": "1", "timestamp": "1999-12-31T23:59:59Z"})["timestamp"]
    assert parse_new_mark({"personId": "1", "timestamp": "2000-01-01T00:00:00Z"}, NOW_MS)


def test_a_timestamp_more_than_a_day_ahead_of_the_given_clock_is_refused():
    body = {"personId": "1", "timestamp": "2026-02-01T08:00:00.501Z"}
    assert "a day from now" in faults(body)["timestamp"]
    assert parse_new_mark(body, NOW_MS + 1).timestamp_ms == NOW_MS + 1 + 24 * 60 * 60 * 1000


@settings(deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["personId", "timestamp", "source", "id", "other"]),
        st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.text())),
    )
)
def test_any_object_is_either_a_mark_or_a_list_of_its_own_fields(body):
    try:
        new = parse_new_mark(body, NOW_MS)
    except WrongFieldsError as problem:
        fields = [error.field for error in problem.errors]
        assert fields
        assert len(fields) == len(set(fields))
        assert set(fields) <= {"personId", "timestamp", "source", "id"}
    else:
        assert new.person_id == body["personId"]
        msgspec.json.encode(new)


def test_the_message_gives_times_in_utc_with_milliseconds():
    assert mark_message(STORED) == {
        "type": "attendance",
        "id": "a",
        "markSeq": 7,
        "personId": "12345",
        "timestamp": "2026-01-31T07:59:55.500Z",
        "receivedAt": "2026-01-31T08:00:00.500Z",
        "source": "door",
        "voided": False,
        "voidReason": None,
    }


def test_the_message_of_a_voided_mark_says_why():
    message = mark_message(msgspec.structs.replace(STORED, void_reason="twice"))
    assert (message["voided"], message["voidReason"]) == (True, "twice")


def test_a_repetition_conflicts_in_whatever_it_says_or_leaves_out_otherwise():
    same = NewMark(person_id="12345", id="a", timestamp_ms=STORED.timestamp_ms, source="door")
    assert conflicts(same, STORED) == []
    other = NewMark(person_id="9", id="a", timestamp_ms=1, source="gate")
    assert [error.field for error in conflicts(other, STORED)] == ["personId", "timestamp", "source"]
    less = NewMark(person_id="12345", id="a")
    assert [error.field for error in conflicts(less, STORED)] == ["timestamp", "source"]


def test_a_timestamp_that_was_left_out_may_be_left_out_again():
    stored = msgspec.structs.replace(STORED, timestamp_ms=NOW_MS, source=None)
    assert conflicts(NewMark(person_id="12345", id="a"), stored) == []
    later = NewMark(person_id="12345", id="a", timestamp_ms=NOW_MS + 1)
    assert [error.field for error in conflicts(later, stored)] == ["timestamp"]


def test_a_mark_without_a_timestamp_has_happened_when_it_came():
    assert NewMark(person_id="1").moment_ms(5) == 5
    assert NewMark(person_id="1", timestamp_ms=0).moment_ms(5) == 0
