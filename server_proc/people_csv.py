"""Reading people from a CSV file, as spreadsheets write it: all of them, or every line that is wrong.

Comma, semicolon (Excel in many countries) or tab between the cells; quotes; either line end; with or without a byte
order mark. Pure; any thread.
"""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterator

from server_proc.new_person import NewPerson, person_faults
from server_proc.problems import FieldError, WrongFieldsError

MAX_PEOPLE = 10_000
_SEPARATORS = ",;\t"
_COLUMNS = {"id": "personId", "personid": "personId", "name": "name", "group": "group"}
_REQUIRED = ("personId", "name")
_ROW = "row"

Line = tuple[int, list[str]]


def parse_people(data: bytes) -> list[NewPerson]:
    """Return the people of a file, in its order. Raises WrongFieldsError naming every wrong line."""
    errors: list[FieldError] = []
    lines = _lines(_decode(data), errors)
    columns = _columns(next(lines, (1, []))[1])
    people: list[NewPerson] = []
    line_of: dict[str, int] = {}
    for line, cells in lines:
        if len(people) == MAX_PEOPLE:
            raise WrongFieldsError([FieldError(_ROW, f"is one more than {MAX_PEOPLE} people: split the file", line)])
        person = _person(dict(zip(columns, cells, strict=False)), line, errors)
        if len(cells) > len(columns):
            errors.append(FieldError(_ROW, f"has {len(cells)} cells, the header has {len(columns)}", line))
        if person is None:
            continue
        if person.person_id in line_of:
            errors.append(FieldError("personId", f"is on line {line_of[person.person_id]} too", line))
        line_of.setdefault(person.person_id, line)
        people.append(person)
    if errors:
        raise WrongFieldsError(errors)
    return people


def _decode(data: bytes) -> str:
    data = data.removeprefix(codecs.BOM_UTF8)
    try:
        return data.decode()
    except UnicodeDecodeError:
        lines = enumerate(data.splitlines(), 1)
        wrong = [line for line, text in lines if text.decode(errors="ignore").encode() != text]
    raise WrongFieldsError([FieldError(_ROW, 'is not UTF-8: save the file as "CSV UTF-8"', line) for line in wrong])


def _lines(text: str, errors: list[FieldError]) -> Iterator[Line]:
    """Yield each row that is not empty with the number of its first line; note those that cannot be read."""
    first_line = io.StringIO(text).readline()
    separator = max(_SEPARATORS, key=first_line.count)  # of equals the first
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            cells = [cell.strip() for cell in next(reader)]
        except StopIteration:
            return
        except csv.Error as error:
            errors.append(FieldError(_ROW, f"cannot be read: {error}", line))
            continue
        if any(cells):
            yield line, cells


def _columns(header: list[str]) -> list[str | None]:
    """Return what each column holds, None for one that we do not keep. Raises WrongFieldsError."""
    names = [name.lower().replace(" ", "").replace("_", "") for name in header]
    columns = [_COLUMNS.get(name) for name in names]
    errors = [
        FieldError(name, f"must be named once in the header: it is {columns.count(name)} times", 1)
        for name in ("personId", "name", "group")
        if columns.count(name) > 1 or (name in _REQUIRED and name not in columns)
    ]
    if errors:
        raise WrongFieldsError(errors)
    return columns


def _person(cells: dict[str | None, str], line: int, errors: list[FieldError]) -> NewPerson | None:
    person_id, name, group = (cells.get(column) or None for column in ("personId", "name", "group"))
    faults = person_faults(person_id, name, group)
    errors += [FieldError(fault.field, fault.message, line) for fault in faults]
    if faults or person_id is None or name is None:
        return None
    return NewPerson(person_id=person_id, name=name, group=group)
