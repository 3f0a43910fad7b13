"""Reading the query string of GET /api/attendance. Pure; any thread."""

from __future__ import annotations

from collections.abc import Mapping

from server_proc.marks import text_fault
from server_proc.problems import FieldError, WrongFieldsError
from server_proc.store import MarkQuery
from server_proc.timestamps import TimestampError, parse_timestamp_ms

MAX_LIMIT = 1000
DEFAULT_LIMIT = 100
_MAX_SEQ = 2**63 - 1


def parse_mark_query(arguments: Mapping[str, str]) -> MarkQuery:
    """Check the arguments and return what they ask for; unknown ones are ignored.

    Raises WrongFieldsError naming every wrong argument.
    """
    errors: list[FieldError] = []
    query = MarkQuery(
        after_seq=_number(arguments, "after_seq", (0, _MAX_SEQ), 0, errors),
        limit=_number(arguments, "limit", (1, MAX_LIMIT), DEFAULT_LIMIT, errors),
        person_id=_person(arguments, errors),
        from_ms=_moment(arguments, "from", errors),
        to_ms=_moment(arguments, "to", errors),
    )
    if errors:
        raise WrongFieldsError(errors)
    return query


def _number(
    arguments: Mapping[str, str], name: str, bounds: tuple[int, int], default: int, errors: list[FieldError]
) -> int:
    text = arguments.get(name)
    if text is None:
        return default
    low, high = bounds
    if text.isascii() and text.isdigit() and len(text) < 20 and low <= int(text) <= high:
        return int(text)
    errors.append(FieldError(name, f"must be a whole number from {low} to {high}"))
    return default


def _person(arguments: Mapping[str, str], errors: list[FieldError]) -> str | None:
    text = arguments.get("person")
    if text is not None and (fault := text_fault(text)) is not None:
        errors.append(FieldError("person", fault))
    return text


def _moment(arguments: Mapping[str, str], name: str, errors: list[FieldError]) -> int | None:
    text = arguments.get(name)
    if text is None:
        return None
    try:
        # An unescaped "+01:00" in a URL arrives as " 01:00"; RFC 3339 has no other blank after the first 19 characters.
        return parse_timestamp_ms(text[:19] + text[19:].replace(" ", "+"))
    except TimestampError as error:
        errors.append(FieldError(name, str(error)))
        return None
