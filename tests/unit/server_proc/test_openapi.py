"""The description and the server agree: schemathesis tries one against the other, in process, with all its checks."""

import uuid
from datetime import UTC, datetime

import pytest
import schemathesis
from hypothesis import strategies as st
from schemathesis.checks import CHECKS
from schemathesis.config import HealthCheck
from schemathesis.engine import Status, events, from_schema
from schemathesis.hooks import unregister_all
from structlog.testing import capture_logs

from server_proc.app import create_app
from server_proc.main import make_wsgi_app
from server_proc.marks import text_fault
from server_proc.openapi.operations import CSV_FORMAT
from server_proc.openapi.shapes import TEXT_FORMAT

MAX_EXAMPLES = 15
NOT_RUN = {"ignored_auth"}  # no operation needs a key on loopback
ALL_PHASES = {"examples", "coverage", "fuzzing", "stateful"}


@pytest.fixture
def _formats():
    """Values of the formats that only our description knows, and moments that are neither absurd nor to come."""
    texts = st.text(min_size=1, max_size=128).filter(lambda text: text_fault(text) is None)
    ids = st.lists(st.from_regex("[a-z0-9]+", fullmatch=True), unique=True)
    moments = st.datetimes(datetime(2000, 1, 1), datetime(2026, 1, 31), timezones=st.just(UTC))  # noqa: DTZ001
    schemathesis.openapi.format(TEXT_FORMAT, texts)
    schemathesis.openapi.format(CSV_FORMAT, ids.map(lambda ids: "\n".join(["id,name", *(f"{each},x" for each in ids)])))
    schemathesis.openapi.format("date-time", moments.map(datetime.isoformat))


@pytest.fixture
def _hook():
    schemathesis.hook(before_call)
    yield
    unregister_all()


@pytest.mark.timeout(600)  # some thousand requests
@pytest.mark.usefixtures("_formats", "_hook")
def test_schemathesis_finds_nothing(services):
    app = make_wsgi_app(create_app(services), services, ("127.0.0.1", 80))
    schema = schemathesis.openapi.from_wsgi("/openapi.json", app)
    schema.config.generation.max_examples = MAX_EXAMPLES
    schema.config.generation.deterministic = True
    schema.config.suppress_health_check = [HealthCheck.too_slow]  # a busy machine is no reason to fail
    schema.config.cache.enabled = False  # it would leave a directory behind
    with capture_logs():
        log = list(from_schema(schema).execute())
    errors = [event for event in log if isinstance(event, events.NonFatalError | events.FatalError)]
    assert errors == []
    scenarios = [event for event in log if isinstance(event, events.ScenarioFinished)]
    assert [failure for scenario in scenarios for failure in failures(scenario.recorder)] == []
    run = {check.name for scenario in scenarios for checks in scenario.recorder.checks.values() for check in checks}
    assert run == set(CHECKS.get_all_names()) - NOT_RUN
    phases = {event.phase.name.value: event.status for event in log if isinstance(event, events.PhaseFinished)}
    assert {phases[name] for name in ALL_PHASES} == {Status.SUCCESS}


def before_call(context, case, kwargs):  # noqa: ARG001  schemathesis calls it so
    """Give every right request names of its own: one that was used for something else is refused, as it should be."""
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    if case.headers and "Idempotency-Key" in case.headers:
        case.headers["Idempotency-Key"] = str(uuid.uuid4())
    if isinstance(case.body, dict) and isinstance(case.body.get("id"), str):
        case.body["id"] = str(uuid.uuid4())


def failures(recorder):
    for case_id, checks in recorder.checks.items():
        for check in checks:
            if check.failure_info is not None:
                request = recorder.interactions[case_id].request
                yield recorder.label, check.name, check.failure_info.failure.message, request.uri, request.body
