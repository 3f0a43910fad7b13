"""Marks: what one attendance mark is, what a body must hold to become one, and the message that announces it.

Pure: time comes in as an argument. Knows neither HTTP nor SQL; any thread.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Any

import msgspec

from server_proc.problems import FieldError, WrongFieldsError
from server_proc.timestamps import TimestampError, format_timestamp, parse_timestamp_ms

MARK_TYPE = "attendance"
MAX_TEXT_CHARS = 128
# Before this a clock was not set; a day ahead of ours a device's clock or ours is wrong.
EARLIEST_MS = parse_timestamp_ms("2000-01-01T00:00:00Z")
MAX_AHEAD_MS = 24 * 60 * 60 * 1000
# Categories that no identifier needs and that forge log lines, table cells or CSV rows: controls, lone
# surrogates (not encodable as UTF-8), line and paragraph separators.
_REFUSED_CATEGORIES = frozenset({"Cc", "Cs", "Zl", "Zp"})
# They turn the text around them: "\u202egnp.exe" is shown as "exe.png".
_REFUSED_CHARS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_INVISIBLE_LETTERS = frozenset("\u115f\u1160\u2800\u3164\uffa0")


class NewMark(msgspec.Struct, frozen=True, kw_only=True):
    """A mark as it was asked for: what the client left out is None."""

    person_id: str
    id: str | None = None
    timestamp_ms: int | None = None
    source: str | None = None
    request_id: str | None = None
    """Of the HTTP request that asks for it: not part of the mark, it follows the announcement through the logs."""

    def moment_ms(self, now_ms: int) -> int:
        """Return when it happened: now, if the client does not say."""
        return now_ms if self.timestamp_ms is None else self.timestamp_ms


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """A mark as it is stored; `mark_seq` is its row number."""

    mark_seq: int
    id: str
    person_id: str
    timestamp_ms: int
    received_ms: int
    source: str | None
    void_reason: str | None = None
    """Why it does not count; None for a mark that stands."""


def parse_new_mark(body: Mapping[str, Any], now_ms: int, request_id: str | None = None) -> NewMark:
    """Check a decoded JSON object and return the mark it asks for; unknown fields are ignored.

    Raises WrongFieldsError naming every wrong field. (msgspec's typed decoding stops at the first.)
    """
    errors: list[FieldError] = []
    person_id = _text(body, "personId", errors)
    if body.get("personId") is None:
        errors.append(FieldError("personId", 'is required: a text such as "12345"'))
    mark_id = _text(body, "id", errors)
    source = _text(body, "source", errors)
    timestamp_ms = _timestamp(body, now_ms, errors)
    if errors or person_id is None:
        raise WrongFieldsError(errors)
    return NewMark(person_id=person_id, id=mark_id, timestamp_ms=timestamp_ms, source=source, request_id=request_id)


def conflicts(asked: NewMark, stored: Mark) -> list[FieldError]:
    """List the fields in which a repeated id asks for another mark than the one sent under it before.

    A timestamp that was left out is known by being that of the receipt: leaving it out again is the same body.
    """
    timestamp_ms = stored.received_ms if asked.timestamp_ms is None else asked.timestamp_ms
    pairs = (
        ("personId", asked.person_id, stored.person_id),
        ("timestamp", timestamp_ms, stored.timestamp_ms),
        ("source", asked.source, stored.source),
    )
    message = "differs from what was sent under this id before: send a new id"
    return [FieldError(name, message) for name, new, old in pairs if new != old]


def mark_message(mark: Mark) -> dict[str, Any]:
    """Return the mark as every reader sees it: message to the ui, answer to a POST, row of a GET."""
    return {
        "type": MARK_TYPE,
        "id": mark.id,
        "markSeq": mark.mark_seq,
        "personId": mark.person_id,
        "timestamp": format_timestamp(mark.timestamp_ms),
        "receivedAt": format_timestamp(mark.received_ms),
        "source": mark.source,
        "voided": mark.void_reason is not None,
        "voidReason": mark.void_reason,
    }


def mark_announcement(mark: Mark, request_id: str | None) -> dict[str, Any]:
    """Return the message that announces a new mark to the ui."""
    message = mark_message(mark)
    return message if request_id is None else {**message, "requestId": request_id}


def text_fault(value: object) -> str | None:
    """Say what is wrong with an identifying text, or None."""
    if not isinstance(value, str):
        return f"must be a string, not {_json_type(value)}"
    if value.isascii() and value.isprintable() and value.strip() and len(value) <= MAX_TEXT_CHARS:
        return None  # as nearly all are; what follows looks at each character several times
    if not value.strip():
        return "must not be blank"
    if len(value) > MAX_TEXT_CHARS:
        return f"must have at most {MAX_TEXT_CHARS} characters, has {len(value)}"
    if any(unicodedata.category(char) in _REFUSED_CATEGORIES for char in value):
        return "must not have control characters, line separators or lone surrogates"
    if not _REFUSED_CHARS.isdisjoint(value):
        return "must not have characters that change the direction of text"
    if not any(_is_visible(char) for char in value):
        return "must not be blank: none of its characters can be seen"
    return None


def _is_visible(char: str) -> bool:
    return unicodedata.category(char)[0] not in "ZCM" and char not in _INVISIBLE_LETTERS


def _text(body: Mapping[str, Any], field: str, errors: list[FieldError]) -> str | None:
    value = body.get(field)
    if value is None:
        return None
    fault = text_fault(value)
    if fault is not None:
        errors.append(FieldError(field, fault))
        return None
    return str(value)


def _timestamp(body: Mapping[str, Any], now_ms: int, errors: list[FieldError]) -> int | None:
    value = body.get("timestamp")
    if value is None:
        return None
    fault = f"must be a string, not {_json_type(value)}"
    if isinstance(value, str):
        try:
            unix_ms = parse_timestamp_ms(value)
        except TimestampError as error:
            fault = str(error)
        else:
            if EARLIEST_MS <= unix_ms <= now_ms + MAX_AHEAD_MS:
                return unix_ms
            fault = "must lie between 2000-01-01 and a day from now: check the clock of the device"
    errors.append(FieldError("timestamp", fault))
    return None


def _json_type(value: object) -> str:
    names = {bool: "a boolean", int: "a number", float: "a number", list: "an array", dict: "an object"}
    return names.get(type(value), type(value).__name__)
