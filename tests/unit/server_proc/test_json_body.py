"""Reading a JSON object from bytes."""

import pytest

from server_proc.json_body import MAX_DEPTH, decode_json_object
from server_proc.problems import ProblemError


def test_an_object_is_read():
    assert decode_json_object(b' {"a": [1, {"b": "\xc3\xa9"}]} ') == {"a": [1, {"b": "é"}]}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"personId=12345",
        b'{"a": 1} x',
        b'{"a": NaN}',
        b'{"a": 1e999}',
        b'{"a": "\xff"}',
        b'{"a": "\\ud800"}',
        b"\xef\xbb\xbf{}",
        b"\x00",
        '{"a": 1}'.encode("utf-16"),
    ],
)
def test_what_is_not_json_is_a_bad_request(body):
    with pytest.raises(ProblemError, match="is not JSON") as caught:
        decode_json_object(body)
    assert caught.value.status == 400


@pytest.mark.parametrize("body", [b"null", b"[]", b'"text"', b"1", b"true"])
def test_json_that_is_no_object_is_a_bad_request(body):
    with pytest.raises(ProblemError, match="must be a JSON object") as caught:
        decode_json_object(body)
    assert caught.value.status == 400


def nested(levels):
    return b'{"a":' * levels + b"1" + b"}" * levels


def test_nesting_is_allowed_up_to_the_limit():
    assert decode_json_object(nested(MAX_DEPTH))


@pytest.mark.parametrize("levels", [MAX_DEPTH + 1, 200, 10_000])
def test_deeper_nesting_is_a_bad_request_however_deep(levels):
    with pytest.raises(ProblemError, match="nested deeper") as caught:
        decode_json_object(nested(levels))
    assert caught.value.status == 400


@pytest.mark.parametrize(
    "body",
    [
        b'{"personId": "1", "personId": "2"}',
        b'{"personId": "1", "x": [{"a": 1, "b": 2, "personId": 1, "personId": 1}]}',
        b'{"personId": 1, "person\\u0049d": 1}',
    ],
)
def test_a_name_that_an_object_has_twice_is_named(body):
    with pytest.raises(ProblemError, match='"personId" twice') as caught:
        decode_json_object(body)
    assert caught.value.status == 400


def test_the_same_name_in_two_objects_and_long_numbers_are_no_fault():
    assert decode_json_object(b'{"a": {"b": 1}, "c": [{"b": 1.5e3}, {"b": 18446744073709551615}]}')


def test_a_body_of_very_many_names_is_checked_in_little_time():
    names = b",".join(b'"%d":0' % n for n in range(100_000))
    with pytest.raises(ProblemError, match='"99999" twice'):
        decode_json_object(b"{" + names + b',"99999":0}')
