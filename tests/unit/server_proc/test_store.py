"""Recording and listing marks."""

import json
import random
import threading
import uuid

import pytest

from server_proc.database import open_database
from server_proc.database_errors import DatabaseFullError
from server_proc.marks import NewMark, mark_message
from server_proc.outbox import OutboxLog
from server_proc.problems import WrongFieldsError
from server_proc.store import MarkQuery, MarkStore
from server_proc.voids import NewVoid

NOW_MS = 1_769_846_400_500


@pytest.fixture
def store(services):
    return services.store


def announced(outbox):
    encoded, _ = outbox.read(0, 1 << 24)
    return [json.loads(line)["payload"] for line in encoded.split(b"\n") if line]


def test_a_mark_is_stored_with_what_the_client_left_out_filled_in(store):
    mark, is_new = store.record(NewMark(person_id="12345"), NOW_MS)
    assert is_new
    assert (mark.mark_seq, mark.person_id, mark.source) == (1, "12345", None)
    assert mark.timestamp_ms == mark.received_ms == NOW_MS
    assert len(mark.id) == 36
    assert store.list_marks(MarkQuery()) == [mark]


def test_the_ids_that_are_made_up_are_uuids_in_the_order_of_time(store):
    marks = [store.record(NewMark(person_id="1"), NOW_MS + n)[0] for n in range(100)]
    ids = [uuid.UUID(mark.id) for mark in marks]
    assert {(made_up.version, made_up.variant) for made_up in ids} == {(7, uuid.RFC_4122)}
    assert sorted(ids) == ids
    assert len({store.record(NewMark(person_id="1"), NOW_MS)[0].id for _ in range(100)}) == 100


def test_ids_stay_unique_where_somebody_sets_the_random_generator_back(store):
    ids = []
    for _ in range(2):
        random.seed(1)
        ids.append(store.record(NewMark(person_id="1"), NOW_MS)[0].id)
    assert ids[0] != ids[1]


def test_what_the_client_gave_is_kept_and_the_time_of_receipt_besides(store):
    mark, _ = store.record(NewMark(person_id="1", id="a", timestamp_ms=5, source="door"), NOW_MS)
    assert (mark.id, mark.timestamp_ms, mark.received_ms, mark.source) == ("a", 5, NOW_MS, "door")


def test_each_mark_is_announced_once_in_the_order_of_the_rows(store, outbox):
    marks = [store.record(NewMark(person_id=str(n)), NOW_MS)[0] for n in range(5)]
    assert announced(outbox) == [mark_message(mark) for mark in marks]


def test_the_same_id_again_is_the_same_mark_stored_and_announced_once(store, outbox):
    first, _ = store.record(NewMark(person_id="1", id="a"), NOW_MS)
    assert store.record(NewMark(person_id="1", id="a"), NOW_MS + 1000) == (first, False)
    assert store.list_marks(MarkQuery()) == [first]
    assert outbox.newest == 1


def test_the_same_id_for_another_person_is_refused_and_changes_nothing(store, outbox):
    first, _ = store.record(NewMark(person_id="1", id="a"), NOW_MS)
    with pytest.raises(WrongFieldsError, match="personId"):
        store.record(NewMark(person_id="2", id="a"), NOW_MS)
    assert store.list_marks(MarkQuery()) == [first]
    assert outbox.newest == 1


def test_a_mark_that_cannot_be_announced_is_not_stored(store, database):
    with database.write() as transaction:
        transaction.connection.execute(
            "CREATE TRIGGER full BEFORE INSERT ON outbox BEGIN SELECT raise(ABORT, 'no'); END"
        )
    with pytest.raises(Exception, match="no"):
        store.record(NewMark(person_id="1"), NOW_MS)
    assert store.list_marks(MarkQuery()) == []
    with database.write() as transaction:
        transaction.connection.execute("DROP TRIGGER full")
    assert store.record(NewMark(person_id="1"), NOW_MS)[0].mark_seq == 1


def record_until_full(store):
    for stored in range(1000):
        try:
            store.record(NewMark(person_id="x" * 128), NOW_MS)
        except DatabaseFullError:
            return stored
    raise AssertionError("it is never full")


def test_a_full_disk_stores_nothing_and_it_goes_on_where_it_was_once_there_is_room(store, database, outbox):
    with database.write() as transaction:
        (pages,) = transaction.connection.execute("PRAGMA page_count").fetchone()
        transaction.connection.execute(f"PRAGMA max_page_count = {pages}")
    stored = record_until_full(store)
    assert stored
    assert len(store.list_marks(MarkQuery(limit=1000))) == outbox.newest == stored
    with database.write() as transaction:
        transaction.connection.execute("PRAGMA max_page_count = 1000000")
    mark, _ = store.record(NewMark(person_id="y"), NOW_MS)
    assert mark.mark_seq == outbox.newest == stored + 1


def test_marks_are_listed_by_cursor_person_time_and_limit(store):
    for n in range(1, 11):
        store.record(NewMark(person_id="even" if n % 2 == 0 else "odd", timestamp_ms=n * 10), NOW_MS)

    def seqs(**query):
        return [mark.mark_seq for mark in store.list_marks(MarkQuery(**query))]

    assert seqs() == list(range(1, 11))
    assert seqs(limit=3) == [1, 2, 3]
    assert seqs(after_seq=7) == [8, 9, 10]
    assert seqs(after_seq=10) == []
    assert seqs(person_id="even") == [2, 4, 6, 8, 10]
    assert seqs(person_id="nobody") == []
    assert seqs(from_ms=30, to_ms=50) == [3, 4]
    assert seqs(person_id="odd", from_ms=30, after_seq=3, to_ms=90, limit=1) == [5]


def test_a_voided_mark_is_listed_and_found_as_such(store, services):
    store.record(NewMark(person_id="1", id="a"), NOW_MS)
    standing, _ = store.record(NewMark(person_id="2"), NOW_MS)
    services.voids.void(NewVoid(mark_id="a", reason="twice"), NOW_MS)
    assert [mark.void_reason for mark in store.list_marks(MarkQuery())] == ["twice", None]
    again, is_new = store.record(NewMark(person_id="1", id="a"), NOW_MS)
    assert (again.void_reason, is_new) == ("twice", False)
    assert store.list_marks(MarkQuery(person_id="2")) == [standing]


def test_marks_and_their_numbers_go_on_after_opening_again(database_path):
    for expected in (1, 2, 3):
        database = open_database(database_path)
        store = MarkStore(database, OutboxLog(database))
        assert store.record(NewMark(person_id="1"), NOW_MS)[0].mark_seq == expected
        assert len(store.list_marks(MarkQuery())) == expected
        database.close()


def test_many_threads_record_and_repeat_and_all_is_stored_and_announced_once_in_order(store, outbox):
    threads_count, each = 8, 20
    start = threading.Barrier(threads_count)
    answers = []

    def post(number):
        start.wait(10)
        for n in range(each):
            # Every id is posted by two threads.
            new = NewMark(person_id="p", id=f"{number // 2}-{n}")
            answers.append((new.id, *store.record(new, NOW_MS)))

    threads = [threading.Thread(target=post, args=(number,)) for number in range(threads_count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    distinct = threads_count * each // 2
    marks = store.list_marks(MarkQuery(limit=1000))
    assert [mark.mark_seq for mark in marks] == list(range(1, distinct + 1))
    assert sum(is_new for _, _, is_new in answers) == distinct
    by_id = {mark.id: mark for mark in marks}
    assert all(mark == by_id[mark_id] for mark_id, mark, _ in answers)
    assert [message["markSeq"] for message in announced(outbox)] == list(range(1, distinct + 1))
