"""What a key remembers, and for how long."""

import pytest

from server_proc.idempotency import MAX_KEY_CHARS, REMEMBERED_MS, keyed_request, recall, remember
from server_proc.problems import WrongFieldsError

NOW_MS = 1_769_846_400_500
ROUTE = "/api/attendance"


@pytest.fixture
def connection(database):
    with database.write() as transaction:
        yield transaction.connection


@pytest.mark.parametrize("key", ["", " ", "x" * (MAX_KEY_CHARS + 1), "caf\xe9", "a\tb"])
def test_a_key_that_is_none_is_named(key):
    with pytest.raises(WrongFieldsError, match="Idempotency-Key"):
        keyed_request(key, ROUTE, {})


def test_a_key_may_be_as_the_standard_quotes_it_and_as_long_as_allowed():
    assert keyed_request('"8e03978e"', ROUTE, {}).key == '"8e03978e"'
    assert keyed_request("x" * MAX_KEY_CHARS, ROUTE, {})


def test_the_order_of_members_makes_no_other_request():
    one = keyed_request("k", ROUTE, {"a": 1, "b": {"c": 2, "d": 3}})
    assert one == keyed_request("k", ROUTE, {"b": {"d": 3, "c": 2}, "a": 1})
    assert one != keyed_request("k", ROUTE, {"a": 1, "b": {"c": 2, "d": 4}})
    assert one != keyed_request("k", ROUTE + ":batch", {"a": 1, "b": {"c": 2, "d": 3}})


def test_an_answer_is_recalled_as_it_was(connection):
    request = keyed_request("k", ROUTE, {"a": 1})
    assert recall(connection, request, NOW_MS) is None
    remember(connection, request, b"answer", NOW_MS)
    assert recall(connection, request, NOW_MS + REMEMBERED_MS - 1) == b"answer"


def test_another_request_under_the_same_key_is_refused(connection):
    remember(connection, keyed_request("k", ROUTE, {"a": 1}), b"answer", NOW_MS)
    with pytest.raises(WrongFieldsError, match="Idempotency-Key"):
        recall(connection, keyed_request("k", ROUTE, {"a": 2}), NOW_MS)


def test_a_key_is_forgotten_and_may_then_be_used_for_something_else(connection):
    remember(connection, keyed_request("k", ROUTE, {"a": 1}), b"answer", NOW_MS)
    other, later_ms = keyed_request("k", ROUTE, {"a": 2}), NOW_MS + REMEMBERED_MS
    assert recall(connection, other, later_ms) is None
    remember(connection, other, b"other", later_ms)
    assert recall(connection, other, later_ms) == b"other"


def test_each_new_key_takes_two_old_ones_along(connection):
    for n in range(5):
        remember(connection, keyed_request(f"old-{n}", ROUTE, {}), b"", NOW_MS + n)

    def keys():
        return [key for (key,) in connection.execute("SELECT key FROM idempotency ORDER BY answered_ms")]

    remember(connection, keyed_request("new", ROUTE, {}), b"", NOW_MS + REMEMBERED_MS + 3)
    assert keys() == ["old-2", "old-3", "old-4", "new"]
    remember(connection, keyed_request("newer", ROUTE, {}), b"", NOW_MS + REMEMBERED_MS + 3)
    assert keys() == ["old-4", "new", "newer"]
