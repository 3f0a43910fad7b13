"""/api/attendance: record a mark, list marks. Task threads."""

from __future__ import annotations

from http import HTTPStatus

import msgspec
from flask import Blueprint, Response, request

from server_proc.json_answer import json_answer
from server_proc.json_body import read_json_object
from server_proc.mark_query import parse_mark_query
from server_proc.marks import mark_message, parse_new_mark
from server_proc.metrics import DUPLICATE, REJECTED
from server_proc.problems import ProblemError
from server_proc.request_log import REQUEST_ID
from server_proc.services import Services


def attendance_blueprint(services: Services) -> Blueprint:
    blueprint = Blueprint("attendance", __name__, url_prefix="/api/attendance")

    @blueprint.post("")
    def record_mark() -> Response:
        now_ms = services.now_ms()
        try:
            asked = parse_new_mark(read_json_object(request), now_ms)
            new = msgspec.structs.replace(asked, request_id=request.environ.get(REQUEST_ID))
            mark, is_new = services.store.record(new, now_ms)
        except ProblemError:
            services.metrics.marks_not_stored(REJECTED)
            raise
        if is_new:
            services.hub.announce()
        else:
            services.metrics.marks_not_stored(DUPLICATE)
        return json_answer(mark_message(mark), HTTPStatus.CREATED if is_new else HTTPStatus.OK)

    @blueprint.get("")
    def list_marks() -> Response:
        query = parse_mark_query(request.args)
        marks = services.store.list_marks(query)
        next_after_seq = marks[-1].mark_seq if marks else query.after_seq
        return json_answer({"marks": [mark_message(mark) for mark in marks], "nextAfterSeq": next_after_seq})

    return blueprint
