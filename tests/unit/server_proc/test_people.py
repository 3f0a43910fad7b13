"""People: stored, changed, announced."""

import json

import pytest

from server_proc.people import Person

NOW_MS = 1_769_846_400_500


@pytest.fixture
def people(services):
    return services.people


def announced(outbox):
    encoded, _ = outbox.read(0, 1 << 24)
    return [json.loads(line)["payload"] for line in encoded.split(b"\n") if line]


def test_nobody_is_known_at_first(people):
    assert people.get("1") is None
    assert people.all() == []


def test_a_new_person_is_stored_and_announced(people, outbox):
    person = Person("1", "Ada Lovelace", "Engines", NOW_MS)
    assert people.put("1", "Ada Lovelace", "Engines", NOW_MS) == (person, True)
    assert people.get("1") == person
    assert announced(outbox) == [{"type": "person", "personId": "1", "name": "Ada Lovelace", "group": "Engines"}]


def test_another_name_replaces_the_one_before_and_is_announced(people, outbox):
    people.put("1", "Ada Byron", None, NOW_MS)
    person, is_new = people.put("1", "Ada Lovelace", "Engines", NOW_MS + 1)
    assert not is_new
    assert people.all() == [person] == [Person("1", "Ada Lovelace", "Engines", NOW_MS + 1)]
    assert [message["name"] for message in announced(outbox)] == ["Ada Byron", "Ada Lovelace"]


def test_the_same_again_changes_and_announces_nothing(people, outbox):
    first, _ = people.put("1", "Ada", None, NOW_MS)
    assert people.put("1", "Ada", None, NOW_MS + 1000) == (first, False)
    assert people.get("1") == first
    assert outbox.newest == 1


def test_a_group_alone_can_be_changed_and_taken_away(people):
    people.put("1", "Ada", "Engines", NOW_MS)
    people.put("1", "Ada", None, NOW_MS)
    assert people.get("1") == Person("1", "Ada", None, NOW_MS)


def test_a_new_name_leaves_the_group(people, outbox):
    people.put("1", "Ada", "Engines", NOW_MS)
    assert people.rename("1", "Ada Lovelace", NOW_MS) == Person("1", "Ada Lovelace", "Engines", NOW_MS)
    assert people.rename("2", "Bob", NOW_MS) == Person("2", "Bob", None, NOW_MS)
    assert [message["name"] for message in announced(outbox)] == ["Ada", "Ada Lovelace", "Bob"]


def test_many_are_stored_together_or_not_at_all(people, database, outbox):
    def put_and_fail():
        with database.write() as transaction:
            people.put_in(transaction, Person("1", "Ada", None, NOW_MS))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        put_and_fail()
    assert people.all() == []
    assert outbox.newest == 0


def test_everybody_is_listed_by_id_whatever_the_script(people):
    for person_id in ("b", "ä", "a", "10", "9"):
        people.put(person_id, f"Name of {person_id}", None, NOW_MS)
    assert [person.id for person in people.all()] == ["10", "9", "a", "b", "ä"]
