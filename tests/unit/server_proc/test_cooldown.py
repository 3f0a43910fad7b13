"""A person who is marked twice within the cool-down is recorded once."""

import itertools
import json
import tempfile
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server_proc.cooldown import standing_seq
from server_proc.database import open_database
from server_proc.idempotency import REMEMBERED_MS
from server_proc.marks import NewMark
from server_proc.outbox import OutboxLog
from server_proc.problems import WrongFieldsError
from server_proc.store import MarkQuery, MarkStore, Outcome
from server_proc.voids import NewVoid, VoidStore

NOW_MS = 1_769_846_400_500
COOLDOWN_MS = 60_000


@pytest.fixture
def store(database, outbox):
    return MarkStore(database, outbox, COOLDOWN_MS)


@pytest.fixture
def record(store, database):
    def record(at_ms=None, person="p", now_ms=NOW_MS, **fields):
        new = NewMark(person_id=person, timestamp_ms=at_ms, **fields)
        with database.write() as transaction:
            return store.record_in(transaction, new, now_ms)

    return record


def stored_times(store):
    return [mark.timestamp_ms for mark in store.list_marks(MarkQuery())]


def test_the_second_mark_is_a_duplicate_of_the_first_and_neither_stored_nor_announced(record, store, outbox):
    first, second = record(0), record(1)
    assert (first.outcome, second.outcome) == (Outcome.CREATED, Outcome.DUPLICATE)
    assert second.mark == first.mark
    assert stored_times(store) == [0]
    assert outbox.newest == 1


@pytest.mark.parametrize("distance_ms", [COOLDOWN_MS - 1, 1 - COOLDOWN_MS])
def test_it_is_a_duplicate_up_to_the_end_of_the_cool_down_in_either_direction(record, distance_ms):
    record(1_000_000)
    assert record(1_000_000 + distance_ms).outcome is Outcome.DUPLICATE


@pytest.mark.parametrize("distance_ms", [COOLDOWN_MS, -COOLDOWN_MS])
def test_from_the_end_of_the_cool_down_on_it_is_another_mark(record, distance_ms):
    record(1_000_000)
    assert record(1_000_000 + distance_ms).outcome is Outcome.CREATED


def test_a_duplicate_does_not_prolong_the_cool_down(record, store):
    for at_ms in (0, 50_000, 70_000):
        record(at_ms)
    assert stored_times(store) == [0, 70_000]


def test_the_nearest_mark_is_the_one_that_stands(record):
    record(0)
    late = record(100_000)
    assert record(55_000).mark == late.mark


@pytest.mark.parametrize("order", list(itertools.permutations((0, 30_000, 200_000))))
def test_a_backlog_counts_by_its_own_times_in_whatever_order_it_arrives(record, order):
    outcomes = {at_ms: record(at_ms, now_ms=NOW_MS + n) for n, at_ms in enumerate(order)}
    created = [at_ms for at_ms, recorded in outcomes.items() if recorded.outcome is Outcome.CREATED]
    assert len(created) == 2
    assert 200_000 in created


def test_other_people_are_not_concerned(record):
    record(0)
    assert record(0, person="q").outcome is Outcome.CREATED


def test_another_source_and_a_new_id_make_no_difference(record):
    record(0, id="a", source="door")
    assert record(1, id="b", source="gate").outcome is Outcome.DUPLICATE


def test_without_a_cool_down_every_mark_counts(database, outbox):
    store = MarkStore(database, outbox)
    assert [store.record(NewMark(person_id="p"), NOW_MS)[1] for _ in range(3)] == [True, True, True]


def test_the_id_of_a_duplicate_is_a_duplicate_also_when_the_cool_down_is_over(record):
    first = record()
    assert record(id="b", now_ms=NOW_MS + 59_000).outcome is Outcome.DUPLICATE
    again = record(id="b", now_ms=NOW_MS + 61_000)  # its answer was lost, and it is sent again
    assert (again.outcome, again.mark) == (Outcome.DUPLICATE, first.mark)


def test_the_id_of_a_duplicate_with_another_body_is_refused(record):
    record()
    record(id="b", now_ms=NOW_MS + 1)
    with pytest.raises(WrongFieldsError, match="personId"):
        record(id="b", person="q")
    with pytest.raises(WrongFieldsError, match="source"):
        record(id="b", source="gate")


def test_the_id_of_a_duplicate_is_forgotten_and_its_row_goes(record, database):
    record()
    for n in range(5):
        record(id=f"old-{n}")
    later_ms = NOW_MS + REMEMBERED_MS
    assert record(id="old-4", now_ms=later_ms).outcome is Outcome.CREATED
    for n in range(3):
        record(id=f"new-{n}", now_ms=later_ms)
    with database.read() as connection:
        assert sorted(connection.execute("SELECT id FROM duplicates").fetchall()) == [
            ("new-0",),
            ("new-1",),
            ("new-2",),
        ]


def test_a_mark_that_was_voided_stands_for_nothing(record, services):
    record(0, id="a")
    record(1, id="b")
    services.voids.void(NewVoid(reason="wrong card", mark_id="a"), NOW_MS)
    assert record(2).outcome is Outcome.CREATED
    assert record(0, id="a").outcome is Outcome.REPEATED
    assert record(1, id="b").outcome is Outcome.DUPLICATE


def test_looking_for_it_uses_the_index(database):
    with database.read() as connection:
        statements = []
        connection.set_trace_callback(statements.append)
        standing_seq(connection, "p", NOW_MS, COOLDOWN_MS)
        connection.set_trace_callback(None)
        plan = connection.execute(f"EXPLAIN QUERY PLAN {statements[-1]}").fetchall()
    assert "marks_by_person_and_timestamp" in plan[0][3]


# -- many at once --------------------------------------------------------------------------------------------------

ASKED = st.builds(
    NewMark,
    person_id=st.sampled_from("pqr"),
    id=st.sampled_from([None, "a", "b", "c"]),
    timestamp_ms=st.sampled_from([None, *range(0, 200_000, 20_000)]),
    source=st.sampled_from([None, "door"]),
)


def told(recorded):
    """What a client learns of its mark, but for what is a matter of chance or order."""
    if isinstance(recorded, WrongFieldsError):
        return str(recorded)
    return recorded.outcome, *same_everywhere(recorded.mark)


def same_everywhere(mark):
    return mark.person_id, mark.timestamp_ms, mark.source or "", mark.void_reason or ""


def one_by_one(store, transaction, asked):
    for new, now_ms in asked:
        try:
            yield store.record_in(transaction, new, now_ms)
        except WrongFieldsError as error:
            yield error


@pytest.mark.parametrize("cooldown_ms", [0, COOLDOWN_MS])
@settings(max_examples=60)
@given(groups=st.lists(st.lists(ASKED, max_size=8), max_size=4))
def test_many_at_once_become_what_they_would_have_become_one_by_one(cooldown_ms, groups):
    """Each is told the same, and the same marks are there; those of a group perhaps in another order."""
    seen = []
    for record in (MarkStore.record_many, one_by_one):
        with tempfile.TemporaryDirectory() as directory, closing(open_database(Path(directory) / "a.db")) as database:
            outbox = OutboxLog(database)
            store = MarkStore(database, outbox, cooldown_ms)
            outcomes = []
            for number, group in enumerate(groups):
                with database.write() as transaction:
                    outcomes += map(told, record(store, transaction, [(new, NOW_MS + number) for new in group]))
                if number == 0 and (marks := store.list_marks(MarkQuery())):
                    first = min(marks, key=same_everywhere)
                    VoidStore(database, outbox).void(NewVoid(reason="x", mark_seq=first.mark_seq), NOW_MS)
            marks = store.list_marks(MarkQuery())
            payloads = [json.loads(line)["payload"] for line in outbox.read(0, 1 << 20)[0].splitlines()]
            announced = [payload["markSeq"] for payload in payloads if payload["type"] == "attendance"]
            assert announced == [mark.mark_seq for mark in marks]
        seen.append((outcomes, sorted(map(same_everywhere, marks))))
    assert seen[0] == seen[1]
