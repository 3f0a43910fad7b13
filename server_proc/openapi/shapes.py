"""What travels over HTTP, as types: the schemas of the description are made from them.

The limits are those that the code checks by. Requests are not decoded through these: msgspec stops at the first wrong
field, and our answers name every one (`server_proc.marks`, `server_proc.new_person`).
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from server_proc.batch import MAX_MARKS
from server_proc.marks import MAX_TEXT_CHARS

# Not a pattern: it would need \p{...}, which not every reader of this description knows.
TEXT_FORMAT = "plain-text"
TEXT_RULE = (
    f"1 to {MAX_TEXT_CHARS} characters, at least one of them visible; no control characters, line separators or"
    " characters that change the direction of text."
)

Text = Annotated[
    str,
    Meta(min_length=1, max_length=MAX_TEXT_CHARS, description=TEXT_RULE, extra_json_schema={"format": TEXT_FORMAT}),
]
Moment = Annotated[datetime, Meta(tz=True)]
Count = Annotated[int, Meta(ge=0)]


class Shape(msgspec.Struct, rename="camel"):
    """Base: fields in camelCase."""


class NewMark(Shape):
    """A mark as a reader sends it. Members that are not named here are ignored; null is the same as left out."""

    person_id: Text
    timestamp: (
        Annotated[
            datetime,
            Meta(
                tz=True,
                description="When it was, in RFC 3339 with an offset; finer than a millisecond is cut off. From"
                " 2000-01-01 to a day from now. Left out: now.",
            ),
        ]
        | None
    ) = None
    source: Text | None = None
    id: Text | None = None


class Mark(Shape):
    """A mark as it is stored. Times are in UTC."""

    type: Literal["attendance"]
    id: Text
    mark_seq: Annotated[int, Meta(ge=1, description="Rises with each stored mark: the cursor of the list.")]
    person_id: Text
    timestamp: Moment
    received_at: Moment
    source: Text | None
    voided: Annotated[bool, Meta(description="True if the office said that it does not count.")]
    void_reason: str | None


class StandingMark(Mark):
    """The mark that stands for what was asked."""

    duplicate: (
        Annotated[
            bool,
            Meta(
                description="True if it is another mark of the person within the cool-down; not there for a repetition."
            ),
        ]
        | UnsetType
    ) = UNSET


class MarkPage(Shape):
    """Marks in the order they were stored."""

    marks: list[Mark]
    next_after_seq: Annotated[int, Meta(ge=0, description="Send it as `after_seq` for what follows.")]


class Batch(Shape):
    """What a reader has collected."""

    marks: Annotated[
        list[Any],
        Meta(
            min_length=1,
            max_length=MAX_MARKS,
            description="Each a NewMark. One that is not is rejected by itself.",
            extra_json_schema={"items": {"anyOf": [{"$ref": "#/components/schemas/NewMark"}, {}]}},
        ),
    ]


class FieldError(Shape):
    """One wrong field."""

    field: str
    message: Annotated[str, Meta(description="What would have been right.")]
    line: Annotated[int, Meta(ge=1, description="In a file: the line it is on.")] | UnsetType = UNSET


class BatchResult(Shape):
    """What became of one mark."""

    result: Literal["created", "duplicate", "rejected"]
    mark: Annotated[Mark, Meta(description="The mark that stands; not there if rejected.")] | UnsetType = UNSET
    errors: Annotated[list[FieldError], Meta(description="If rejected: every wrong field.")] | UnsetType = UNSET


class BatchAnswer(Shape):
    """What became of each mark, in the order they were sent."""

    created: Count
    duplicate: Count
    rejected: Count
    results: list[BatchResult]


class NewPerson(Shape):
    """A person's name and group. Members that are not named here are ignored."""

    name: Text
    group: Text | None = None


class Person(Shape):
    """A person as stored."""

    person_id: Text
    name: Text
    group: Text | None
    updated_at: Moment


class PeoplePage(Shape):
    """People in the order of their ids, code point by code point."""

    people: list[Person]
    next_after: Annotated[str, Meta(description="Send it as `after` for what follows.")] | None


class ImportAnswer(Shape):
    """How many people of the file were new, changed, or the same as before."""

    created: Count
    updated: Count
    unchanged: Count


class MessageAnswer(Shape):
    """The message is stored and on its way."""

    seq: Annotated[int, Meta(ge=1, description="Its place among all that uis are told.")]
    clients: Annotated[int, Meta(ge=0, description="How many uis are connected now.")]


class Health(Shape):
    """The process answers."""

    status: Literal["ok"]


class Readiness(Shape):
    """Whether it can do its work, and what is in the way."""

    status: Literal["ready", "unready"]
    reasons: list[str] | UnsetType = UNSET


class Problem(Shape):
    """What went wrong (RFC 9457)."""

    type: str
    title: str
    status: Annotated[int, Meta(ge=400, le=599)]
    detail: str
    errors: Annotated[list[FieldError], Meta(description="Every wrong field; empty if it is not about fields.")]
    request_id: Annotated[str, Meta(description="Finds the request in the server's log.")] | UnsetType = UNSET
