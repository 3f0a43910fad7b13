"""The description is complete, its examples are right, and no start pays for it."""

import json
import re
import subprocess
import sys
from pathlib import Path

import jsonschema_rs
import pytest

from server_proc.app import create_app
from server_proc.marks import MAX_TEXT_CHARS
from server_proc.openapi.document import build_document, path_template
from server_proc.openapi.operations import OPERATIONS

PAGE = Path(__file__).resolve().parents[3] / "docs" / "http-api.md"


@pytest.fixture
def app(services):
    return create_app(services)


@pytest.fixture
def document(app):
    return json.loads(json.dumps(build_document(app)))


def operations(document):
    return [
        (path, method, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


def contents(document):
    """Yield each body and answer of the document: where it is, its schema, its examples."""
    for path, method, operation in operations(document):
        bodies = {"request": operation.get("requestBody", {"content": {}})}
        for where, body in (bodies | operation["responses"]).items():
            if "$ref" not in body:
                yield from ((f"{method} {path} {where}", content) for content in body["content"].values())
    for name, response in document["components"]["responses"].items():
        yield from ((name, content) for content in response["content"].values())


def test_every_route_of_the_application_is_described_and_nothing_else(app, document):
    routes = {
        (path_template(rule.rule), method.lower())
        for rule in app.url_map.iter_rules()
        for method in rule.methods - {"HEAD", "OPTIONS"}
    }
    assert {(path, method) for path, method, _ in operations(document)} == routes
    assert set(OPERATIONS) == {rule.endpoint for rule in app.url_map.iter_rules()}


def test_it_is_what_is_served(get, document):
    answer = get("/openapi.json")
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json == document
    assert get("/openapi.json").data == answer.data
    assert document["openapi"] == "3.1.0"


def test_parameters_of_a_path_are_described(document):
    for path, _, operation in operations(document):
        named = {parameter["name"] for parameter in operation["parameters"] if parameter["in"] == "path"}
        assert named == {part[1:-1] for part in path.split("/") if part.startswith("{")}


def test_operations_have_names_of_their_own(document):
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(set(names)) == len(names)


def test_whatever_reads_a_body_says_what_may_be_wrong_with_it(document):
    for _, method, operation in operations(document):
        if method in ("post", "put"):
            assert {"413", "415", "422", "503", "507"} <= set(operation["responses"])


def test_every_reference_leads_somewhere(document):
    text = json.dumps(document)
    for part in text.split('"$ref": "#/')[1:]:
        target = document
        for step in part[: part.index('"')].split("/"):
            target = target[step]


def test_every_example_fits_its_schema(document):
    count = 0
    for where, content in contents(document):
        schema = {**content["schema"], "components": document["components"]}
        examples = [example["value"] for example in content.get("examples", {}).values()] or [content["example"]]
        for example in examples:
            count += 1
            errors = [error.message for error in jsonschema_rs.iter_errors(schema, example)]
            assert not errors, (where, example)
    assert count > 20


def test_the_examples_of_marks_and_people_are_accepted(client, document):
    for path, method, operation in operations(document):
        for media_type, content in operation.get("requestBody", {"content": {}})["content"].items():
            for example in content["examples"].values():
                value = example["value"]
                answer = client.open(
                    path.replace("{personId}", "12345"),
                    method=method.upper(),
                    data=value if isinstance(value, str) else json.dumps(value),
                    content_type=media_type,
                    base_url="http://localhost:1340",
                )
                assert answer.status_code in (200, 201, 202), (path, answer.data)


def test_the_page_for_people_has_every_route_and_no_other(document):
    told = re.findall(r"^\| `([A-Z]+ /[^`]*)` \|", PAGE.read_text(), re.MULTILINE)
    assert sorted(told) == sorted(f"{method.upper()} {path}" for path, method, _ in operations(document))


def test_limits_are_those_of_the_code(document):
    assert document["components"]["schemas"]["NewMark"]["properties"]["personId"]["maxLength"] == MAX_TEXT_CHARS


def test_a_start_does_not_import_it():
    code = "import sys, server_proc.main; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout.split()
    assert "server_proc.blueprints.openapi" in loaded
    assert not {"apispec", "server_proc.openapi"} & set(loaded)
