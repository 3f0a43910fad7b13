"""The state that a ui begins with, in as many pages as it takes."""

import pytest

from server_proc.marks import NewMark, mark_message
from server_proc.store import MarkQuery
from server_proc.voids import NewVoid

NOW_MS = 1_769_846_400_500
PLENTY_BYTES = 1 << 20


@pytest.fixture
def snapshots(services):
    return services.snapshots


def record(services, count, **fields):
    return [services.store.record(NewMark(person_id=str(n), **fields), NOW_MS)[0] for n in range(count)]


def test_a_snapshot_is_the_newest_marks_first_the_people_the_figures_and_the_seq(services, snapshots):
    services.outbox.append({"type": "message"})
    marks = record(services, 5)
    services.people.put("3", "Ada", "Engines", NOW_MS)
    services.voids.void(NewVoid(mark_seq=4, reason="twice"), NOW_MS)
    answer = snapshots.snapshot(3, PLENTY_BYTES, NOW_MS)
    per_hour = answer.pop("perHour")
    assert (len(per_hour), sum(per_hour)) == (24, 4)
    assert answer == {
        "type": "snapshot",
        "seq": 8,
        "total": 4,
        "today": 4,
        "peopleToday": 4,
        "marks": [
            mark_message(marks[4]),
            mark_message(marks[3]) | {"voided": True, "voidReason": "twice"},
            mark_message(marks[2]),
        ],
        "nextBeforeSeq": 3,
        "people": [{"type": "person", "personId": "3", "name": "Ada", "group": "Engines"}],
        "nextAfterPerson": None,
    }


def test_the_seq_of_a_snapshot_does_not_fall_back_when_the_outbox_is_emptied(services, snapshots, database):
    record(services, 1)
    with database.write() as transaction:
        transaction.connection.execute("DELETE FROM outbox")
    assert snapshots.snapshot(1, PLENTY_BYTES, NOW_MS)["seq"] == services.outbox.newest == 1


@pytest.mark.parametrize("max_bytes", [2000, 5000, PLENTY_BYTES])
def test_the_pages_of_marks_are_all_of_them_once_in_order(services, snapshots, max_bytes):
    marks = record(services, 50)
    answer = snapshots.snapshot(50, max_bytes, NOW_MS)
    found = answer["marks"]
    while (before_seq := answer["nextBeforeSeq"]) is not None:
        answer = snapshots.marks(before_seq, 50, max_bytes)
        assert answer["type"] == "marks"
        assert answer["marks"]
        found += answer["marks"]
    assert found == [mark_message(mark) for mark in reversed(marks)]


def test_a_page_may_be_limited_and_says_where_to_go_on(services, snapshots):
    record(services, 10)
    answer = snapshots.marks(8, 3, PLENTY_BYTES)
    assert [mark["markSeq"] for mark in answer["marks"]] == [7, 6, 5]
    assert answer["nextBeforeSeq"] == 5
    assert snapshots.marks(3, 3, PLENTY_BYTES)["nextBeforeSeq"] is None
    assert snapshots.marks(1, 3, PLENTY_BYTES) == {"type": "marks", "marks": [], "nextBeforeSeq": None}


@pytest.mark.parametrize("max_bytes", [600, PLENTY_BYTES])
def test_the_pages_of_people_are_all_of_them_once_in_order(services, snapshots, max_bytes):
    ids = [f"{n:02}" for n in range(30)]
    for person_id in reversed(ids):
        services.people.put(person_id, f"Name of {person_id}", None, NOW_MS)
    answer = snapshots.snapshot(0, max_bytes, NOW_MS)
    found = answer["people"]
    while (after := answer["nextAfterPerson"]) is not None:
        answer = snapshots.people(after, max_bytes)
        assert answer["type"] == "people"
        found += answer["people"]
    assert [person["personId"] for person in found] == ids


def test_a_mark_that_is_voided_between_two_pages_is_voided_in_the_second(services, snapshots):
    record(services, 4)
    answer = snapshots.snapshot(2, PLENTY_BYTES, NOW_MS)
    services.voids.void(NewVoid(mark_seq=1, reason="x"), NOW_MS)
    older = snapshots.marks(answer["nextBeforeSeq"], 10, PLENTY_BYTES)["marks"]
    assert [mark["voided"] for mark in older] == [False, True]
    assert [mark.void_reason for mark in services.store.list_marks(MarkQuery())] == ["x", None, None, None]
