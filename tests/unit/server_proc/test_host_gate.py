"""The gate against pages that resolve their own name to this machine."""

import json

import pytest

from server_proc.host_gate import HostGate, HostRules


@pytest.mark.parametrize(
    "host",
    ["localhost:1340", "127.0.0.1:1340", "[::1]:1340", "LOCALHOST:1340", "localhost", "127.0.0.1", "[::1]"],
)
def test_names_of_this_machine_are_accepted_with_our_port_or_none(host):
    assert HostRules("127.0.0.1", 1340).fault(host, None) is None


@pytest.mark.parametrize(
    "host",
    [
        None,
        "",
        "evil.example",
        "evil.example:1340",
        "localhost.evil.example:1340",
        "localhost:1341",
        "localhost:",
        "localhost:01340",
        "127.0.0.1.:1340",
        "127.0.0.1, evil.example",
        "user@localhost:1340",
        "::1",
        "[::1",
        "0.0.0.0:1340",
        "192.168.1.5:1340",
        "127.1:1340",
        " localhost:1340",
    ],
)
def test_every_other_name_is_refused(host):
    assert "Host header" in HostRules("127.0.0.1", 1340).fault(host, None)


@pytest.mark.parametrize(("bound", "host"), [("192.168.1.5", "192.168.1.5:80"), ("fe80::1", "[fe80::1]:80")])
def test_the_bound_address_is_accepted(bound, host):
    assert HostRules(bound, 80).fault(host, None) is None


@pytest.mark.parametrize("origin", ["http://localhost:1340", "http://127.0.0.1:1340", "http://[::1]:1340"])
def test_our_own_pages_are_accepted(origin):
    assert HostRules("127.0.0.1", 1340).fault("localhost:1340", origin) is None


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "",
        "http://evil.example",
        "http://evil.example:1340",
        "https://localhost:1340",
        "http://localhost",
        "http://localhost:3000",
        "file://",
        "http://localhost:1340.evil.example",
    ],
)
def test_pages_of_other_origins_are_refused(origin):
    assert "Origin header" in HostRules("127.0.0.1", 1340).fault("localhost:1340", origin)


def test_at_port_80_an_origin_has_no_port():
    assert HostRules("127.0.0.1", 80).fault("localhost", "http://localhost") is None


def test_a_refused_request_never_reaches_the_application():
    started = []

    def app(*_arguments):
        raise AssertionError("the gate let it through")

    gate = HostGate(app, "127.0.0.1", 1340)
    body = b"".join(gate({"HTTP_HOST": "evil.example"}, lambda *answer: started.append(answer)))
    ((status, headers),) = started
    assert status == "403 Forbidden"
    assert dict(headers)["Content-Type"] == "application/problem+json"
    assert int(dict(headers)["Content-Length"]) == len(body)
    assert json.loads(body)["status"] == 403


def test_an_accepted_request_is_passed_on_untouched():
    environ = {"HTTP_HOST": "localhost:1340"}
    gate = HostGate(lambda environ, start_response: [environ, start_response], "127.0.0.1", 1340)
    passed_on, start_response = gate(environ, print)
    assert passed_on is environ  # not a copy: what the application notes in it is read by the request log
    assert start_response is print
