"""/api/attendance: record a mark or a batch of them, list marks. Task threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any

from flask import Blueprint, Response, request

from server_proc.batch import ParsedMark, parse_batch
from server_proc.batch_writer import Work
from server_proc.database import Transaction
from server_proc.idempotency import KeyedRequest, keyed_request
from server_proc.json_answer import json_answer
from server_proc.json_body import JSON_TYPE, MAX_BODY_BYTES, MAX_BULK_BYTES, read_json_object
from server_proc.late_answer import Ready, answer_late
from server_proc.mark_query import parse_mark_query
from server_proc.marks import NewMark, mark_message, parse_new_mark
from server_proc.metrics import DUPLICATE, REJECTED
from server_proc.problems import ProblemError, WrongFieldsError, both
from server_proc.query_arguments import query_pairs
from server_proc.recording import Answer, Asked, Wanted, record_batches, record_marks
from server_proc.request_log import REQUEST_ID
from server_proc.services import Services

PATH = "/api/attendance"

Recorded = Sequence[Answer | WrongFieldsError]


def attendance_blueprint(services: Services) -> Blueprint:
    blueprint = Blueprint("attendance", __name__)
    note = partial(_note, services)

    def record_one(transaction: Transaction, asked: Sequence[Wanted[NewMark]]) -> Recorded:
        return record_marks(services.store, transaction, asked)

    def record_many(transaction: Transaction, asked: Sequence[Wanted[list[ParsedMark]]]) -> Recorded:
        return record_batches(services.store, transaction, asked)

    def parsed(parse: Callable[[dict[str, Any], int, str | None], Asked], max_bytes: int) -> Wanted[Asked]:
        now_ms = services.now_ms()
        try:
            body = read_json_object(request, max_bytes)
            asked, keyed = both(lambda: parse(body, now_ms, request.environ.get(REQUEST_ID)), lambda: _keyed(body))
        except ProblemError:
            services.metrics.marks_not_stored(REJECTED)
            raise
        return Wanted(asked=asked, now_ms=now_ms, keyed=keyed)

    def record(work: Work[Wanted[Asked], Answer], wanted: Wanted[Asked], marks: int) -> Response:
        return answer_late(services.database.submit(work, wanted, marks, note), _ready)

    @blueprint.post(PATH)
    def post_mark() -> Response:
        return record(record_one, parsed(parse_new_mark, MAX_BODY_BYTES), 1)

    @blueprint.post(f"{PATH}:batch")
    def post_batch() -> Response:
        wanted = parsed(parse_batch, MAX_BULK_BYTES)
        return record(record_many, wanted, len(wanted.asked))

    @blueprint.get(PATH)
    def list_marks() -> Response:
        query = parse_mark_query(query_pairs(request.environ))
        marks = services.store.list_marks(query)
        next_after_seq = marks[-1].mark_seq if marks else query.after_seq
        return json_answer({"marks": [mark_message(mark) for mark in marks], "nextAfterSeq": next_after_seq})

    return blueprint


def _keyed(body: dict[str, Any]) -> KeyedRequest | None:
    key = request.environ.get("HTTP_IDEMPOTENCY_KEY")
    return None if key is None else keyed_request(key, request.path, body)


def _note(services: Services, recorded: Answer | Exception) -> None:
    """Announce and count what was recorded, whether anybody waits for the answer or not; who does finds it done."""
    if isinstance(recorded, Exception):
        if isinstance(recorded, ProblemError):
            services.metrics.marks_not_stored(REJECTED)
        return
    if recorded.created:
        services.hub.announce()
    services.metrics.marks_not_stored(DUPLICATE, recorded.duplicate)
    services.metrics.marks_not_stored(REJECTED, recorded.rejected)


def _ready(recorded: Future[Answer]) -> Ready:
    answer = recorded.result()
    return Ready(answer.status, JSON_TYPE, answer.body)
