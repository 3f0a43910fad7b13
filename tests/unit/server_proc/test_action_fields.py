"""The fields of a request: read as what they should be, or all named at once."""

import pytest

from server_proc.action_fields import Fields
from server_proc.problems import WrongFieldsError


def wrong(fields):
    with pytest.raises(WrongFieldsError) as caught:
        fields.require_none_wrong()
    return {error.field: error.message for error in caught.value.errors}


def test_what_is_right_is_returned():
    fields = Fields({"a": "x", "b": 5, "c": None})
    assert (fields.text("a", "a letter"), fields.number("b", 1)) == ("x", 5)
    assert (fields.optional_text("c"), fields.optional_text("d")) == (None, None)
    assert (fields.optional_number("c", 1), fields.optional_number("b", 1)) == (None, 5)
    assert fields.number("d", 0, 7) == 7
    fields.require_none_wrong()


def test_all_that_is_wrong_is_named_with_what_would_be_right():
    fields = Fields({"b": -1, "c": 5})
    fields.text("a", "a letter")
    fields.number("b", 0)
    fields.optional_text("c")
    fields.number("d", 1)
    assert wrong(fields) == {
        "a": "is required: a letter",
        "b": "must be a whole number from 0",
        "c": "must be a string, not a number",
        "d": "must be a whole number from 1",
    }
