"""CappedRows: newest first, in batches, never more than the cap."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ui_proc.capped_rows import CappedRows


def filled(max_rows, *batches):
    rows = CappedRows(max_rows)
    for batch in batches:
        for row in batch:
            rows.add(row)
        rows.drop_oldest()
        rows.publish()
    return rows


def test_pending_rows_are_not_shown_before_publish():
    rows = CappedRows(3)
    rows.add("a")
    assert (len(rows), rows.pending) == (0, 1)
    rows.publish()
    assert (len(rows), rows.pending, rows[0]) == (1, 0, "a")


def test_the_newest_row_is_first():
    rows = filled(5, "ab", "c")
    assert [rows[index] for index in range(len(rows))] == ["c", "b", "a"]


@pytest.mark.parametrize("index", [-1, 2])
def test_an_index_outside_the_shown_rows_is_refused(index):
    with pytest.raises(IndexError):
        filled(5, "ab")[index]


def test_drop_oldest_makes_room_for_the_pending_rows():
    rows = filled(3, "abc")
    rows.add("d")
    assert rows.overflow == 1
    assert rows.drop_oldest() == ["a"]
    assert rows.overflow == 0


def test_a_batch_beyond_the_cap_pushes_out_its_own_oldest():
    rows = CappedRows(2)
    assert [rows.add(row) for row in "abc"] == [None, None, "a"]


def test_replace_keeps_the_newest_and_forgets_the_pending():
    rows = CappedRows(2)
    rows.add("x")
    rows.replace("abc")
    assert list(rows.everything()) == ["b", "c"]


def test_a_cap_below_one_is_refused():
    with pytest.raises(ValueError, match="max_rows is 0"):
        CappedRows(0)


@given(st.integers(1, 8), st.lists(st.lists(st.integers(), max_size=20), max_size=8))
def test_after_any_batches_the_newest_rows_are_held_in_order(max_rows, batches):
    rows = filled(max_rows, *batches)
    arrived = [row for batch in batches for row in batch]
    assert list(rows.everything()) == arrived[-max_rows:]
