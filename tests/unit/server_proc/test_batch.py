"""What a body must hold to be a batch, and what is answered for each mark of it."""

import pytest

from server_proc.batch import MAX_MARKS, batch_answer, parse_batch
from server_proc.marks import Mark, NewMark, mark_message
from server_proc.problems import FieldError, WrongFieldsError
from server_proc.store import Outcome, Recorded

NOW_MS = 1_769_846_400_500
MARK = Mark(mark_seq=7, id="a", person_id="1", timestamp_ms=NOW_MS, received_ms=NOW_MS, source=None)


@pytest.mark.parametrize("body", [{}, {"marks": None}, {"marks": {}}, {"marks": "1"}])
def test_a_body_without_marks_is_told_what_they_are(body):
    with pytest.raises(WrongFieldsError) as caught:
        parse_batch(body, NOW_MS)
    assert caught.value.errors == (FieldError("marks", "is required: an array of 1 to 500 marks"),)


@pytest.mark.parametrize("count", [0, MAX_MARKS + 1])
def test_none_and_too_many_are_refused_with_their_number(count):
    with pytest.raises(WrongFieldsError) as caught:
        parse_batch({"marks": [{"personId": "1"}] * count}, NOW_MS)
    assert caught.value.errors == (FieldError("marks", f"must have 1 to 500 marks, has {count}"),)


def test_500_are_a_batch():
    assert len(parse_batch({"marks": [{"personId": "1"}] * MAX_MARKS}, NOW_MS)) == MAX_MARKS


def test_what_is_wrong_with_one_mark_does_not_touch_the_others():
    good, bad, ugly = parse_batch({"marks": [{"personId": "1"}, {"id": 5}, "mark"]}, NOW_MS)
    assert good == NewMark(person_id="1")
    assert sorted(error.field for error in bad.errors) == ["id", "personId"]
    assert [error.field for error in ugly.errors] == ["mark"]


def test_the_answer_counts_and_keeps_the_order():
    errors = [FieldError("personId", "is required")]
    results = [
        Recorded(MARK, Outcome.REPEATED),
        WrongFieldsError(errors),
        Recorded(MARK, Outcome.CREATED),
        Recorded(MARK, Outcome.DUPLICATE),
    ]
    assert batch_answer(results) == {
        "created": 1,
        "duplicate": 2,
        "rejected": 1,
        "results": [
            {"result": "duplicate", "mark": mark_message(MARK)},
            {"result": "rejected", "errors": tuple(errors)},
            {"result": "created", "mark": mark_message(MARK)},
            {"result": "duplicate", "mark": mark_message(MARK)},
        ],
    }
