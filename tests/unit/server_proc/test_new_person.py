"""What a body must hold to become a person."""

import pytest

from server_proc.new_person import NewPerson, parse_new_person
from server_proc.problems import WrongFieldsError


def fields(person_id, body):
    with pytest.raises(WrongFieldsError) as caught:
        parse_new_person(person_id, body)
    return [error.field for error in caught.value.errors]


def test_a_name_is_enough_and_unknown_fields_are_ignored():
    assert parse_new_person("1", {"name": "Ada", "shoeSize": 38}) == NewPerson(person_id="1", name="Ada")


def test_a_group_may_be_given_or_null():
    assert parse_new_person("1", {"name": "Ada", "group": "Staff"}).group == "Staff"
    assert parse_new_person("1", {"name": "Ada", "group": None}).group is None


def test_every_wrong_field_is_named_the_path_s_too():
    assert fields("\x07", {"name": "", "group": 5}) == ["personId", "name", "group"]
    assert fields("1", {}) == ["name"]


def test_an_id_in_the_body_must_be_that_of_the_path():
    assert parse_new_person("1", {"personId": "1", "name": "Ada"}).person_id == "1"
    assert fields("1", {"personId": "2", "name": "Ada"}) == ["personId"]
    assert fields("1", {"personId": None, "name": "Ada"}) == ["personId"]
