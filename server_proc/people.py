"""The people that marks name: their names and groups, each change announced in the same transaction.

Knows SQL and the outbox; knows neither HTTP nor connections: who changes a person flushes the ipc server afterwards.
Any thread may call.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

import msgspec

from server_proc.database import Database
from server_proc.outbox import OutboxLog
from server_proc.write_turn import Transaction

_COLUMNS = "id, name, group_name, updated_ms"


class Person(msgspec.Struct, frozen=True):
    """A person as stored; the fields are the columns, in their order."""

    id: str
    name: str
    group: str | None
    updated_ms: int


class PeopleStore:
    """Keeps people. A mark may name somebody who is not in here."""

    def __init__(self, database: Database, outbox: OutboxLog) -> None:
        self._database = database
        self._outbox = outbox

    def put(self, person_id: str, name: str, group: str | None, now_ms: int) -> tuple[Person, bool]:
        """Store a person's name and group durably; return the person, and whether it is a new one.

        The same again changes nothing and announces nothing. Raises DatabaseError when nothing was stored.
        """
        with self._database.write() as transaction:
            return self.put_in(transaction, Person(person_id, name, group, now_ms))

    def rename(self, person_id: str, name: str, now_ms: int) -> Person:
        """Give a person another name and leave the group as it is; somebody unknown becomes known."""
        with self._database.write() as transaction:
            before = _find(transaction.connection, person_id)
            group = None if before is None else before.group
            person, _ = self.put_in(transaction, Person(person_id, name, group, now_ms))
        return person

    def put_in(self, transaction: Transaction, person: Person) -> tuple[Person, bool]:
        """Do what `put` does as part of `transaction`, so that many people are stored together or not at all."""
        before = _find(transaction.connection, person.id)
        if before is not None and (before.name, before.group) == (person.name, person.group):
            return before, False
        transaction.connection.execute(
            f"INSERT INTO people ({_COLUMNS}) VALUES (?, ?, ?, ?) ON CONFLICT (id) DO UPDATE"  # noqa: S608  constants
            " SET name = excluded.name, group_name = excluded.group_name, updated_ms = excluded.updated_ms",
            msgspec.structs.astuple(person),
        )
        self._outbox.add(transaction, person_message(person))
        return person, before is None

    def put_each(self, transaction: Transaction, people: Sequence[Person]) -> list[tuple[Person, bool]]:
        """Do for each what `put_in` does: work for a BatchWriter."""
        return [self.put_in(transaction, person) for person in people]

    def import_each(self, transaction: Transaction, files: Sequence[Sequence[Person]]) -> list[dict[str, int]]:
        """Store the people of each file; count who was new, changed, and as before: work for a BatchWriter."""
        return [self._import(transaction, people) for people in files]

    def _import(self, transaction: Transaction, people: Sequence[Person]) -> dict[str, int]:
        counts = {"created": 0, "updated": 0, "unchanged": 0}
        for person in people:
            stored, is_new = self.put_in(transaction, person)
            counts["created" if is_new else "updated" if stored is person else "unchanged"] += 1
        return counts

    def get(self, person_id: str) -> Person | None:
        """Return a person, or None when nobody has been stored under this id."""
        with self._database.read() as connection:
            return _find(connection, person_id)

    def page(self, after_id: str, limit: int) -> list[Person]:
        """Return the next `limit` people whose ids are greater than `after_id`, ordered by id."""
        with self._database.read() as connection:
            return people_after(connection, after_id, limit)

    def all(self) -> list[Person]:
        """Return everybody, ordered by id."""
        with self._database.read() as connection:
            return people_after(connection, "")


def people_after(connection: sqlite3.Connection, person_id: str, limit: int = -1) -> list[Person]:
    """Return those whose ids come after one, in their order, as of the view that `connection` has; -1 means all."""
    sql = f"SELECT {_COLUMNS} FROM people WHERE id > ? ORDER BY id LIMIT ?"  # noqa: S608  constants
    return [Person(*row) for row in connection.execute(sql, (person_id, limit)).fetchall()]


def person_message(person: Person) -> dict[str, Any]:
    """Return the message that tells every ui of a person's name and group."""
    return {"type": "person", "personId": person.id, "name": person.name, "group": person.group}


def _find(connection: sqlite3.Connection, person_id: str) -> Person | None:
    sql = f"SELECT {_COLUMNS} FROM people WHERE id = ?"  # noqa: S608  constants
    row = connection.execute(sql, (person_id,)).fetchone()
    return None if row is None else Person(*row)
