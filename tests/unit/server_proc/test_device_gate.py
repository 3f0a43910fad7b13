"""The gate that asks for a device's key."""

import json

import pytest
from structlog.testing import capture_logs

from server_proc.database_errors import DatabaseUnusableError
from server_proc.device_gate import DeviceGate
from server_proc.devices import DeviceStore
from server_proc.request_log import DEVICE


@pytest.fixture
def devices(database):
    return DeviceStore(database)


@pytest.fixture
def key(devices):
    return devices.add("door", 1)


class Gate:
    """A gate in front of an application that remembers what reaches it."""

    def __init__(self, devices, is_required):
        self.reached = []
        self._gate = DeviceGate(self._app, devices, lambda: 1_000_000, is_required=is_required)

    def _app(self, environ, start_response):
        self.reached.append(environ)
        start_response("204 No Content", [])
        return []

    def ask(self, authorization=None, path="/api/attendance"):
        """Return the status, the challenge and the problem's detail."""
        started = []
        environ = {"PATH_INFO": path, "REQUEST_METHOD": "GET"}
        if authorization is not None:
            environ["HTTP_AUTHORIZATION"] = authorization
        body = b"".join(self._gate(environ, lambda *answer: started.append(answer)))
        status, headers = started[0]
        return int(status[:3]), dict(headers).get("WWW-Authenticate"), json.loads(body)["detail"] if body else ""


@pytest.mark.parametrize("is_required", [True, False])
def test_the_key_of_a_device_passes_and_goes_no_further(devices, key, is_required):
    gate = Gate(devices, is_required)
    for authorization in (f"Bearer {key}", f"bearer  {key} "):
        assert gate.ask(authorization)[0] == 204
    for environ in gate.reached:
        assert environ[DEVICE] == "door"
        assert key not in repr(environ)


def test_without_a_key_nobody_passes_where_it_is_required(devices):
    gate = Gate(devices, is_required=True)
    for path in (
        "/api/attendance",
        "/readyz",
        "/metrics",
        "/openapi.json",
        "/",
        "/healthz/",
        "/healthz/x",
        "//healthz",
    ):
        status, challenge, detail = gate.ask(path=path)
        assert (status, challenge) == (401, 'Bearer realm="axon"')
        assert "run.py devices add" in detail
    assert gate.reached == []


def test_without_a_key_everybody_passes_where_it_is_optional(devices):
    assert Gate(devices, is_required=False).ask()[0] == 204


@pytest.mark.parametrize("is_required", [True, False])
def test_a_wrong_key_passes_nowhere(devices, key, is_required):
    gate = Gate(devices, is_required)
    for wrong in (
        "Bearer wrong",
        "Bearer",
        "Bearer ",
        "",
        key,
        f"Basic {key}",
        f"Bearer {key}x",
        f"Bearer {key}, {key}",
    ):
        status, challenge, detail = gate.ask(wrong)
        assert (status, challenge) == (401, 'Bearer realm="axon", error="invalid_token"')
        assert key not in detail
    devices.revoke("door", 2)
    assert gate.ask(f"Bearer {key}")[0] == 401
    assert gate.reached == []


@pytest.mark.parametrize("authorization", [None, "Bearer wrong"])
def test_that_the_process_lives_is_told_to_everybody(devices, authorization):
    assert Gate(devices, is_required=True).ask(authorization, path="/healthz")[0] == 204


def test_nobody_passes_while_keys_cannot_be_looked_up(devices, key, monkeypatch):
    def fail(*_arguments):
        raise DatabaseUnusableError("secret path")

    monkeypatch.setattr(devices, "authenticate", fail)
    gate = Gate(devices, is_required=True)
    with capture_logs() as logs:
        status, _, detail = gate.ask(f"Bearer {key}")
    assert status == 503
    assert "secret" not in detail
    assert key not in repr(logs)
    assert gate.reached == []
