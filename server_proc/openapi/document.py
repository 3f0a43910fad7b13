"""The description of a Flask application's API as an OpenAPI 3.1 document.

Paths and methods are those that the application has; what they do is in `operations`, what travels in `shapes`. Pure;
any thread.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Any

import msgspec
from apispec import APISpec
from flask import Flask

from server_proc.openapi import examples, shapes
from server_proc.openapi.operation import Body, Operation, Parameter, Success
from server_proc.openapi.operations import OPERATIONS, TAGS
from server_proc.problems import PROBLEM_TYPE

VERSION = "1"
DESCRIPTION = """\
Marks over HTTP, durable before they are answered. `docs/http-api.md` has the whole story, and a card reader.

Errors are problems (RFC 9457) that list every wrong field. A path or method that is not in here is 404 or 405. Requests
that cannot be read as HTTP, or not within 15 s, are problems as well: 400, 408, 413, 431 or 501."""
EVERYWHERE = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.INTERNAL_SERVER_ERROR)
PROBLEMS = {
    HTTPStatus.BAD_REQUEST: "The body or the path cannot be read.",
    HTTPStatus.UNAUTHORIZED: "A device key is needed, or this one is not known.",
    HTTPStatus.FORBIDDEN: "The Host or Origin header is not this server's.",
    HTTPStatus.NOT_FOUND: "Nobody is stored under this id.",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The body is too large.",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "The Content-Type is missing or another one, or there is a Content-Encoding.",
    HTTPStatus.UNPROCESSABLE_ENTITY: "Fields are wrong; every one is listed. Sending the same again will not help.",
    HTTPStatus.INTERNAL_SERVER_ERROR: "The server failed; its log says why.",
    HTTPStatus.SERVICE_UNAVAILABLE: "Nothing was done: the database cannot be used now. Send it again later.",
    HTTPStatus.INSUFFICIENT_STORAGE: "Nothing was stored: the disk is full. Send it again later.",
}
REQUEST_ID_HEADER = {
    "X-Request-Id": {"schema": {"type": "string"}, "description": "Finds the request in the server's log."}
}


def build_document(app: Flask) -> dict[str, Any]:
    """Return the document. Raises KeyError for a route that is not described."""
    spec = APISpec(
        title="Axon attendance",
        version=VERSION,
        openapi_version="3.1.0",
        info={"description": DESCRIPTION},
        tags=[{"name": name, "description": text} for name, text in TAGS.items()],
        security=[{}, {"deviceKey": []}],
    )
    for name, schema in _components().items():
        spec.components.schema(name, schema)
    for status, text in PROBLEMS.items():
        spec.components.response(_problem_name(status), _problem(status, text))
    spec.components.security_scheme("deviceKey", {"type": "http", "scheme": "bearer"})
    for rule in sorted(app.url_map.iter_rules(), key=lambda rule: rule.rule):
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            described = _described(OPERATIONS[rule.endpoint], rule.endpoint)
            spec.path(path_template(rule.rule), operations={method.lower(): described})
    return spec.to_dict()


def path_template(rule: str) -> str:
    """Return Flask's "/people/<text:person_id>" as OpenAPI has it: "/people/{personId}"."""
    return re.sub(r"<(?:[^:<>]+:)?([^<>]+)>", lambda match: f"{{{_camel(match[1])}}}", rule)


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(map(str.capitalize, rest))


def _described(operation: Operation, endpoint: str) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": _camel(endpoint.rpartition(".")[2]),
        "summary": operation.summary,
        "tags": [operation.tag],
        "parameters": [_parameter(each) for each in operation.parameters],
        "responses": _answers(operation),
    }
    if operation.description:
        described["description"] = operation.description
    if operation.body is not None:
        described["requestBody"] = _body(operation.body)
    return described


def _answers(operation: Operation) -> dict[str, Any]:
    answers: dict[str, Any] = {str(int(status)): _success(each) for status, each in operation.answers.items()}
    for status in (*operation.problems, *EVERYWHERE):
        answers[str(int(status))] = _problem_name(status)
    return dict(sorted(answers.items()))


def _parameter(parameter: Parameter) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "in": parameter.place,
        "required": parameter.place == "path",
        "schema": parameter.schema,
        "description": parameter.description,
    }


def _body(body: Body) -> dict[str, Any]:
    content = {
        "schema": _schema(body.shape),
        "examples": {name: {"value": value} for name, value in body.examples.items()},
    }
    return {"required": True, "description": body.description, "content": {body.media_type: content}}


def _success(success: Success) -> dict[str, Any]:
    content = {"schema": _schema(success.shape), "example": success.example}
    return {
        "description": success.description,
        "headers": REQUEST_ID_HEADER,
        "content": {success.media_type: content},
    }


def _problem(status: int, description: str) -> dict[str, Any]:
    example: dict[str, Any] = {**examples.PROBLEM, "status": int(status), "title": HTTPStatus(status).phrase}
    if status != HTTPStatus.UNPROCESSABLE_ENTITY:
        example |= {"detail": description, "errors": []}
    content = {"schema": _schema(shapes.Problem), "example": example}
    return {"description": description, "headers": REQUEST_ID_HEADER, "content": {PROBLEM_TYPE: content}}


def _problem_name(status: int) -> str:
    return HTTPStatus(status).phrase.title().replace(" ", "")


def _schema(shape: Any) -> dict[str, Any]:
    if isinstance(shape, dict):
        return shape
    return {"$ref": f"#/components/schemas/{shape.__name__}"}


def _components() -> dict[str, dict[str, Any]]:
    types = [shape for shape in vars(shapes).values() if _is_shape(shape)]
    _, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    return components


def _is_shape(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, shapes.Shape) and value is not shapes.Shape
