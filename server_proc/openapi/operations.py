"""What each route does, by its endpoint. A test fails for a route that is missing here."""

from __future__ import annotations

from http import HTTPStatus as Status
from typing import Any

from server_proc.batch import MAX_MARKS
from server_proc.blueprints.messages import RESERVED_TYPES
from server_proc.idempotency import KEY_FIELD, MAX_KEY_CHARS
from server_proc.json_body import MAX_BODY_BYTES, MAX_BULK_BYTES
from server_proc.mark_query import DEFAULT_LIMIT, MAX_LIMIT, MAX_SEQ
from server_proc.marks import MAX_TEXT_CHARS
from server_proc.openapi import examples, shapes
from server_proc.openapi.operation import Body, Operation, Parameter, Success
from server_proc.people_csv import MAX_PEOPLE

READING = (Status.SERVICE_UNAVAILABLE,)
WRITING = (Status.SERVICE_UNAVAILABLE, Status.INSUFFICIENT_STORAGE)
BODY = (
    Status.BAD_REQUEST,
    Status.REQUEST_ENTITY_TOO_LARGE,
    Status.UNSUPPORTED_MEDIA_TYPE,
    Status.UNPROCESSABLE_ENTITY,
)
TEXT = {"type": "string", "minLength": 1, "maxLength": MAX_TEXT_CHARS, "format": shapes.TEXT_FORMAT}
CSV_FORMAT = "people-csv"
MOMENT = {"type": "string", "format": "date-time"}

IDEMPOTENCY_KEY = Parameter(
    KEY_FIELD,
    "header",
    {"type": "string", "minLength": 1, "maxLength": MAX_KEY_CHARS, "pattern": "^[!-~]([ -~]*[!-~])?$"},
    "Names the request, such as a UUID: sent again with the same body within 7 days it is answered with the same bytes"
    " and status 200, and done once; with another body it is 422.",
)
PERSON_ID = Parameter("personId", "path", TEXT, f"Percent-encoded, `/` as `%2F` or as it is. {shapes.TEXT_RULE}")


def _limit(maximum: int, default: int) -> Parameter:
    schema = {"type": "integer", "minimum": 1, "maximum": maximum, "default": default}
    return Parameter("limit", "query", schema, "How many at most. Fewer than that: there are no more now.")


OPERATIONS: dict[str, Operation] = {
    "attendance.post_mark": Operation(
        summary="Record a mark",
        tag="attendance",
        description="It is durable before the answer is sent, and every ui is told. Send it again until it is answered,"
        " with the same `id` or the same Idempotency-Key: it is recorded once. A person's mark less than the cool-down"
        " (60 s, by the marks' own timestamps) from another one is not recorded either.",
        parameters=(IDEMPOTENCY_KEY,),
        body=Body(
            shape=shapes.NewMark,
            examples={"least": {"personId": "12345"}, "most": examples.NEW_MARK},
            description=f"At most {MAX_BODY_BYTES} bytes.",
        ),
        answers={
            Status.CREATED: Success(description="Recorded.", shape=shapes.Mark, example=examples.MARK),
            Status.OK: Success(
                description="Asked for before, and answered as then; or, with `duplicate`, another mark of the person"
                " stands within the cool-down.",
                shape=shapes.StandingMark,
                example={**examples.MARK, "duplicate": True},
            ),
        },
        problems=(*BODY, *WRITING),
    ),
    "attendance.post_batch": Operation(
        summary="Record a backlog of marks",
        tag="attendance",
        description="What is right in it is stored in one transaction; a wrong mark is rejected by itself. Sent again,"
        " marks with an `id` are `duplicate`, with the mark that stands. A reader may forget whatever has a result.",
        parameters=(IDEMPOTENCY_KEY,),
        body=Body(
            shape=shapes.Batch,
            examples={"two": examples.BATCH},
            description=f"1 to {MAX_MARKS} marks, at most {MAX_BULK_BYTES} bytes.",
        ),
        answers={
            Status.OK: Success(
                description="What became of each mark.", shape=shapes.BatchAnswer, example=examples.BATCH_ANSWER
            )
        },
        problems=(*BODY, *WRITING),
    ),
    "attendance.list_marks": Operation(
        summary="List marks",
        tag="attendance",
        description="In the order they were stored, so that a page stays the same while marks are added. Follow"
        " `nextAfterSeq`. Unknown parameters are refused.",
        parameters=(
            Parameter(
                "after_seq",
                "query",
                {"type": "integer", "minimum": 0, "maximum": MAX_SEQ, "default": 0},
                "Only marks with a greater `markSeq`.",
            ),
            Parameter("person", "query", TEXT, "Only marks of this person."),
            Parameter("from", "query", MOMENT, "Only marks with this timestamp or a later one."),
            Parameter("to", "query", MOMENT, "Only marks with an earlier timestamp."),
            _limit(MAX_LIMIT, DEFAULT_LIMIT),
        ),
        answers={
            Status.OK: Success(
                description="A page.", shape=shapes.MarkPage, example={"marks": [examples.MARK], "nextAfterSeq": 17}
            )
        },
        problems=(Status.UNPROCESSABLE_ENTITY, *READING),
    ),
    "people.put_person": Operation(
        summary="Give a person a name and a group",
        tag="people",
        parameters=(PERSON_ID,),
        body=Body(
            shape=shapes.NewPerson,
            examples={"person": examples.NEW_PERSON},
            description=f"At most {MAX_BODY_BYTES} bytes.",
        ),
        answers={
            Status.CREATED: Success(description="A new person.", shape=shapes.Person, example=examples.PERSON),
            Status.OK: Success(
                description="Changed, or the same as before.", shape=shapes.Person, example=examples.PERSON
            ),
        },
        problems=(*BODY, *WRITING),
    ),
    "people.get_person": Operation(
        summary="Look a person up",
        tag="people",
        parameters=(PERSON_ID,),
        answers={Status.OK: Success(description="The person.", shape=shapes.Person, example=examples.PERSON)},
        problems=(Status.BAD_REQUEST, Status.NOT_FOUND, Status.UNPROCESSABLE_ENTITY, *READING),
    ),
    "people.list_people": Operation(
        summary="List people",
        tag="people",
        description="In the order of their ids. Follow `nextAfter` until it is null. Unknown parameters are refused.",
        parameters=(
            Parameter("after", "query", TEXT, "Only people with a greater id."),
            _limit(MAX_LIMIT, DEFAULT_LIMIT),
        ),
        answers={
            Status.OK: Success(
                description="A page.", shape=shapes.PeoplePage, example={"people": [examples.PERSON], "nextAfter": None}
            )
        },
        problems=(Status.UNPROCESSABLE_ENTITY, *READING),
    ),
    "people.import_people": Operation(
        summary="Import people from a CSV file",
        tag="people",
        description="All or nothing: every wrong line is listed with its number. Who is not in the file is left alone.",
        body=Body(
            shape={"type": "string", "format": CSV_FORMAT},
            media_type="text/csv",
            examples={"file": examples.PEOPLE_CSV},
            description="UTF-8, with or without a byte order mark. A header names the columns `personId` (or `id`),"
            " `name` and, if you like, `group`, in any order; others are ignored. Separated by comma, semicolon or tab."
            f" At most {MAX_PEOPLE} people and {MAX_BULK_BYTES} bytes.",
        ),
        answers={
            Status.OK: Success(
                description="Imported.",
                shape=shapes.ImportAnswer,
                example={"created": 1, "updated": 1, "unchanged": 0},
            )
        },
        problems=(*BODY[1:], *WRITING),
    ),
    "messages.broadcast": Operation(
        summary="Say something to every ui",
        tag="messages",
        description="Stored, and told once and in order, like a mark. There is no key: sent twice it is said twice.",
        body=Body(
            shape={
                "type": "object",
                "properties": {"type": {"not": {"enum": sorted(RESERVED_TYPES)}}},
                "description": f"Any object whose `type` is not reserved: {', '.join(sorted(RESERVED_TYPES))}.",
            },
            examples={"text": examples.MESSAGE},
            description=f"At most {MAX_BODY_BYTES} bytes, nested at most 32 levels deep.",
        ),
        answers={
            Status.ACCEPTED: Success(
                description="Stored.", shape=shapes.MessageAnswer, example={"seq": 18, "clients": 1}
            )
        },
        problems=(*BODY, *WRITING),
    ),
    "health.is_alive": Operation(
        summary="Ask whether the process answers",
        tag="operations",
        answers={Status.OK: Success(description="It does.", shape=shapes.Health, example={"status": "ok"})},
    ),
    "health.is_ready": Operation(
        summary="Ask whether it can do its work",
        tag="operations",
        answers={
            Status.OK: Success(description="It can.", shape=shapes.Readiness, example={"status": "ready"}),
            Status.SERVICE_UNAVAILABLE: Success(
                description="It cannot, for these reasons.",
                shape=shapes.Readiness,
                example={"status": "unready", "reasons": ["database: database or disk is full"]},
            ),
        },
    ),
    "metrics.show_metrics": Operation(
        summary="Figures for Prometheus",
        tag="operations",
        answers={
            Status.OK: Success(
                description="In the text format, or in OpenMetrics if `Accept` asks for it.",
                shape={"type": "string"},
                media_type="text/plain",
                example='axon_marks_total{result="created"} 17.0\n',
            )
        },
    ),
    "openapi.describe": Operation(
        summary="Describe this API",
        tag="operations",
        answers={
            Status.OK: Success(description="This document.", shape={"type": "object"}, example={"openapi": "3.1.0"})
        },
    ),
}

TAGS: dict[str, Any] = {
    "attendance": "Marks: who was there, when.",
    "people": "Names for the ids in marks. A mark may name somebody who is not in here.",
    "messages": "Messages to the uis.",
    "operations": "For those who run the server.",
}
