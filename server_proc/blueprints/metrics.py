"""/metrics: figures for Prometheus, in its text format or in OpenMetrics if that is asked for. Task threads."""

from __future__ import annotations

from flask import Blueprint, Response, request
from prometheus_client.exposition import choose_encoder

from server_proc.services import Services


def metrics_blueprint(services: Services) -> Blueprint:
    blueprint = Blueprint("metrics", __name__)

    @blueprint.get("/metrics")
    def show_metrics() -> Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return Response(encode(services.metrics.registry), content_type=content_type)

    return blueprint
