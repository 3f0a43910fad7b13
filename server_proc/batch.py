"""A batch of marks: what a body must hold to be one, and what is answered for each of its marks.

A mark that is wrong is rejected by itself: the rest of a reader's backlog is not held up by it. Pure; any thread.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from server_proc.marks import NewMark, mark_message, parse_new_mark
from server_proc.problems import FieldError, WrongFieldsError
from server_proc.store import Outcome, Recorded

MAX_MARKS = 500
RESULTS = ("created", "duplicate", "rejected")

ParsedMark = NewMark | WrongFieldsError


def parse_batch(body: Mapping[str, Any], now_ms: int, request_id: str | None = None) -> list[ParsedMark]:
    """Return each mark of the batch, or what is wrong with it. Raises WrongFieldsError when it is no batch."""
    marks = body.get("marks")
    if not isinstance(marks, list):
        raise WrongFieldsError([FieldError("marks", f"is required: an array of 1 to {MAX_MARKS} marks")])
    if not 1 <= len(marks) <= MAX_MARKS:
        raise WrongFieldsError([FieldError("marks", f"must have 1 to {MAX_MARKS} marks, has {len(marks)}")])
    return [_parse(mark, now_ms, request_id) for mark in marks]


def batch_answer(results: list[Recorded | WrongFieldsError]) -> dict[str, Any]:
    """Return what is answered: how many of each result there are, and the results in the order of the marks."""
    answers = [_rejected(each) if isinstance(each, WrongFieldsError) else _recorded(each) for each in results]
    counts = {name: sum(answer["result"] == name for answer in answers) for name in RESULTS}
    return {**counts, "results": answers}


def _parse(mark: object, now_ms: int, request_id: str | None) -> ParsedMark:
    if not isinstance(mark, dict):
        return WrongFieldsError([FieldError("mark", 'must be an object, such as {"personId": "12345"}')])
    try:
        return parse_new_mark(mark, now_ms, request_id)
    except WrongFieldsError as error:
        return error


def _recorded(recorded: Recorded) -> dict[str, Any]:
    # To a reader a mark that was there and one that another stands for are the same: done.
    result = "created" if recorded.outcome is Outcome.CREATED else "duplicate"
    return {"result": result, "mark": mark_message(recorded.mark)}


def _rejected(error: WrongFieldsError) -> dict[str, Any]:
    return {"result": "rejected", "errors": error.errors}
