"""What is asked for when a person is put: what a body must hold. Pure; any thread."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from server_proc.marks import text_fault
from server_proc.problems import FieldError, WrongFieldsError


class NewPerson(msgspec.Struct, frozen=True, kw_only=True):
    """A person as it was asked for."""

    person_id: str
    name: str
    group: str | None = None


def parse_new_person(person_id: str, body: Mapping[str, Any]) -> NewPerson:
    """Check a path's id and a decoded JSON object and return the person; unknown fields are ignored.

    Raises WrongFieldsError naming every wrong field.
    """
    name, group = body.get("name"), body.get("group")
    errors = person_faults(person_id, name, group)
    if body.get("personId", person_id) != person_id:
        errors.append(FieldError("personId", "differs from the id in the path: leave it out, or send the same"))
    if errors:
        raise WrongFieldsError(errors)
    return NewPerson(person_id=person_id, name=str(name), group=group)


def person_faults(person_id: object, name: object, group: object) -> list[FieldError]:
    """List what is wrong with the fields of a person."""
    named = [("personId", person_id), ("name", name)]
    if group is not None:
        named.append(("group", group))
    return [FieldError(field, fault) for field, value in named if (fault := _fault(value)) is not None]


def _fault(value: object) -> str | None:
    return "is required: a text" if value is None else text_fault(value)
