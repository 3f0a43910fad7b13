"""/api/people: who the people are that marks name. Task threads."""

from __future__ import annotations

from concurrent.futures import Future
from http import HTTPStatus
from typing import Any

import msgspec
from flask import Blueprint, Response, request

from server_proc.json_answer import json_answer
from server_proc.json_body import JSON_TYPE, MAX_BULK_BYTES, read_body, read_json_object
from server_proc.late_answer import Ready, answer_late
from server_proc.mark_query import DEFAULT_LIMIT, MAX_LIMIT
from server_proc.marks import text_fault
from server_proc.new_person import parse_new_person
from server_proc.people import Person
from server_proc.people_csv import parse_people
from server_proc.problems import FieldError, ProblemError, WrongFieldsError
from server_proc.query_arguments import QueryArguments, query_pairs
from server_proc.services import Services
from server_proc.timestamps import format_timestamp

PATH = "/api/people"
CSV_TYPE = "text/csv"


def people_blueprint(services: Services) -> Blueprint:
    blueprint = Blueprint("people", __name__)

    def put_answer(put: Future[tuple[Person, bool]]) -> Ready:
        person, is_new = put.result()
        return _ready(HTTPStatus.CREATED if is_new else HTTPStatus.OK, _answer(person))

    def import_answer(imported: Future[dict[str, int]]) -> Ready:
        return _ready(HTTPStatus.OK, imported.result())

    @blueprint.put(f"{PATH}/<text:person_id>")
    def put_person(person_id: str) -> Response:
        new = parse_new_person(person_id, read_json_object(request))
        person = Person(new.person_id, new.name, new.group, services.now_ms())
        return answer_late(services.submit(services.people.put_each, person), put_answer)

    @blueprint.get(f"{PATH}/<text:person_id>")
    def get_person(person_id: str) -> Response:
        if (fault := text_fault(person_id)) is not None:
            raise WrongFieldsError([FieldError("personId", fault)])
        person = services.people.get(person_id)
        if person is None:
            raise ProblemError(HTTPStatus.NOT_FOUND, "Nobody is stored under this id: PUT the person first.")
        return json_answer(_answer(person))

    @blueprint.get(PATH)
    def list_people() -> Response:
        arguments = QueryArguments(query_pairs(request.environ), ("after", "limit"))
        after = arguments.text("after")
        limit = arguments.number("limit", (1, MAX_LIMIT), DEFAULT_LIMIT)
        if arguments.errors:
            raise WrongFieldsError(arguments.errors)
        people = services.people.page(after or "", limit)
        next_after = people[-1].id if len(people) == limit else None
        return json_answer({"people": [_answer(person) for person in people], "nextAfter": next_after})

    @blueprint.post(f"{PATH}:import")
    def import_people() -> Response:
        people = parse_people(read_body(request, CSV_TYPE, MAX_BULK_BYTES))
        now_ms = services.now_ms()
        asked = [Person(each.person_id, each.name, each.group, now_ms) for each in people]
        return answer_late(services.submit(services.people.import_each, asked, len(asked)), import_answer)

    return blueprint


def _ready(status: HTTPStatus, answer: dict[str, Any]) -> Ready:
    return Ready(status, JSON_TYPE, msgspec.json.encode(answer))


def _answer(person: Person) -> dict[str, Any]:
    return {
        "personId": person.id,
        "name": person.name,
        "group": person.group,
        "updatedAt": format_timestamp(person.updated_ms),
    }
