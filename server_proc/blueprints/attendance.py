"""/api/attendance: record a mark or a batch of them, list marks. Task threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from flask import Blueprint, Response, request

from server_proc.batch import parse_batch
from server_proc.database import Transaction
from server_proc.idempotency import KEY_FIELD, KeyedRequest, keyed_request
from server_proc.json_answer import encoded_json_answer, json_answer
from server_proc.json_body import MAX_BULK_BYTES, read_json_object
from server_proc.mark_query import parse_mark_query
from server_proc.marks import mark_message, parse_new_mark
from server_proc.metrics import DUPLICATE, REJECTED
from server_proc.problems import ProblemError, both
from server_proc.query_arguments import query_pairs
from server_proc.recording import Answer, answer_once, record_batch, record_mark
from server_proc.request_log import REQUEST_ID
from server_proc.services import Services

PATH = "/api/attendance"


def attendance_blueprint(services: Services) -> Blueprint:
    blueprint = Blueprint("attendance", __name__)

    @blueprint.post(PATH)
    def post_mark() -> Response:
        now_ms = services.now_ms()
        with _rejections_counted(services):
            body = read_json_object(request)
            new, keyed = both(
                lambda: parse_new_mark(body, now_ms, request.environ.get(REQUEST_ID)), lambda: _keyed(body)
            )
            return _recorded(services, keyed, now_ms, partial(record_mark, services.store, new=new, now_ms=now_ms))

    @blueprint.post(f"{PATH}:batch")
    def post_batch() -> Response:
        now_ms = services.now_ms()
        with _rejections_counted(services):
            body = read_json_object(request, MAX_BULK_BYTES)
            marks, keyed = both(
                lambda: parse_batch(body, now_ms, request.environ.get(REQUEST_ID)), lambda: _keyed(body)
            )
            return _recorded(services, keyed, now_ms, partial(record_batch, services.store, marks=marks, now_ms=now_ms))

    @blueprint.get(PATH)
    def list_marks() -> Response:
        query = parse_mark_query(query_pairs(request.environ))
        marks = services.store.list_marks(query)
        next_after_seq = marks[-1].mark_seq if marks else query.after_seq
        return json_answer({"marks": [mark_message(mark) for mark in marks], "nextAfterSeq": next_after_seq})

    return blueprint


@contextmanager
def _rejections_counted(services: Services) -> Iterator[None]:
    try:
        yield
    except ProblemError:
        services.metrics.marks_not_stored(REJECTED)
        raise


def _keyed(body: dict[str, Any]) -> KeyedRequest | None:
    return keyed_request(request.headers.get(KEY_FIELD), request.path, body)


def _recorded(
    services: Services, keyed: KeyedRequest | None, now_ms: int, make: Callable[[Transaction], Answer]
) -> Response:
    answer = answer_once(services.database, keyed, now_ms, make)
    if answer.created:
        services.hub.announce()
    services.metrics.marks_not_stored(DUPLICATE, answer.duplicate)
    services.metrics.marks_not_stored(REJECTED, answer.rejected)
    return encoded_json_answer(answer.body, answer.status)
