"""The Flask application, made from its services. Knows no socket; task threads run it."""

from __future__ import annotations

from typing import Any
from wsgiref.util import setup_testing_defaults

from flask import Flask
from flask.globals import request_ctx

from server_proc.blueprints.attendance import attendance_blueprint
from server_proc.blueprints.health import health_blueprint
from server_proc.blueprints.messages import messages_blueprint
from server_proc.blueprints.metrics import metrics_blueprint
from server_proc.blueprints.openapi import openapi_blueprint
from server_proc.blueprints.people import people_blueprint
from server_proc.error_answers import answer_errors
from server_proc.json_body import MAX_BODY_BYTES
from server_proc.path_text import TextConverter, refuse_undecodable_path
from server_proc.request_log import ROUTE
from server_proc.services import Services

BLUEPRINTS = (
    attendance_blueprint,
    people_blueprint,
    messages_blueprint,
    health_blueprint,
    metrics_blueprint,
    openapi_blueprint,
)


def create_app(services: Services) -> Flask:
    """Return the application; the caller wraps its `wsgi_app` with gate and log."""
    app = Flask("axon", static_folder=None, template_folder=None)
    app.debug = False  # whatever FLASK_DEBUG says
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    app.url_map.merge_slashes = False  # it would answer with an HTML redirect
    app.url_map.converters["text"] = TextConverter
    app.before_request(_name_route)
    answer_errors(app)
    for blueprint in BLUEPRINTS:
        app.register_blueprint(blueprint(services))
    return app


def rehearse(app: Flask) -> None:
    """Answer a request of nobody's, so that what is made at the first one is there when somebody's comes."""
    environ: dict[str, Any] = {"PATH_INFO": "/healthz"}
    setup_testing_defaults(environ)
    list(app(environ, lambda _status, _headers, _error=None: bytearray().extend))


def _name_route() -> None:
    this = request_ctx.request  # looked up once: each access to `request` costs as much as the rest
    if this.url_rule is not None:
        this.environ[ROUTE] = this.url_rule.rule
    refuse_undecodable_path(this.environ)
