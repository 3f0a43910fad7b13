"""Voids: one per mark, each announced, and none of them touches the mark."""

import json
import threading

import pytest

from server_proc.marks import NewMark
from server_proc.problems import WrongFieldsError
from server_proc.voids import AlreadyVoidedError, NewVoid, UnknownMarkError, Void

NOW_MS = 1_769_846_400_500


@pytest.fixture
def voids(services):
    return services.voids


@pytest.fixture
def mark(services):
    services.store.record(NewMark(person_id="other"), NOW_MS)
    return services.store.record(NewMark(person_id="12345", id="a"), NOW_MS)[0]


def newest_message(outbox):
    encoded, _ = outbox.read(outbox.newest - 1, 1 << 20)
    return json.loads(encoded)["payload"]


def count(database, table):
    with database.read() as connection:
        return connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608


def test_a_void_is_a_row_of_its_own_and_announced(voids, mark, outbox, database):
    void, is_new = voids.void(NewVoid(mark_id="a", reason="twice", id="v"), NOW_MS + 1)
    assert is_new
    assert void == Void("v", "a", mark.mark_seq, "12345", "twice", NOW_MS + 1)
    assert newest_message(outbox) == {
        "type": "void",
        "id": "v",
        "markId": "a",
        "markSeq": 2,
        "personId": "12345",
        "reason": "twice",
        "timestamp": "2026-01-31T08:00:00.501Z",
    }
    assert (count(database, "marks"), count(database, "voids")) == (2, 1)


def test_the_mark_may_be_named_by_its_row_number_or_both(voids, mark, services):
    assert voids.void(NewVoid(mark_seq=mark.mark_seq, reason="x"), NOW_MS)[0].mark_id == "a"
    services.store.record(NewMark(person_id="1", id="b"), NOW_MS)
    assert voids.void(NewVoid(mark_id="b", mark_seq=3, reason="x"), NOW_MS)[0].mark_seq == 3


@pytest.mark.parametrize("named", [{"mark_id": "b"}, {"mark_seq": 9}, {"mark_id": "a", "mark_seq": 1}])
def test_an_unknown_mark_is_refused(voids, mark, outbox, named):
    assert mark.mark_seq == 2
    with pytest.raises(UnknownMarkError):
        voids.void(NewVoid(reason="x", **named), NOW_MS)
    assert outbox.newest == 2


def test_a_mark_is_voided_once_and_who_comes_later_is_told_why(voids, mark, outbox):
    first, _ = voids.void(NewVoid(mark_id=mark.id, reason="twice"), NOW_MS)
    with pytest.raises(AlreadyVoidedError, match=r"voided at 2026-01-31T08:00:00\.500Z: twice") as caught:
        voids.void(NewVoid(mark_id=mark.id, reason="again"), NOW_MS + 1)
    assert caught.value.void == first
    assert outbox.newest == 3


def test_the_same_id_again_is_the_same_void_stored_and_announced_once(voids, mark, outbox):
    asked = NewVoid(mark_id=mark.id, reason="twice", id="v")
    first, _ = voids.void(asked, NOW_MS)
    assert voids.void(asked, NOW_MS + 1000) == (first, False)
    assert outbox.newest == 3


def test_the_same_id_for_something_else_is_refused_naming_what(voids, mark):
    voids.void(NewVoid(mark_id=mark.id, reason="twice", id="v"), NOW_MS)
    with pytest.raises(WrongFieldsError) as caught:
        voids.void(NewVoid(mark_id="b", mark_seq=1, reason="other", id="v"), NOW_MS)
    assert [error.field for error in caught.value.errors] == ["markId", "markSeq", "reason"]


def test_of_many_at_once_one_voids_the_mark(voids, mark, outbox):
    outcomes = []
    start = threading.Barrier(8)

    def void(number):
        start.wait(10)
        try:
            outcomes.append(voids.void(NewVoid(mark_id=mark.id, reason=f"{number}"), NOW_MS)[0].reason)
        except AlreadyVoidedError as error:
            outcomes.append(error.void.reason)

    threads = [threading.Thread(target=void, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(outcomes) == 8
    assert len(set(outcomes)) == 1
    assert outbox.newest == 3
