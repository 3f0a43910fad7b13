"""The gate against pages that resolve their own name to this machine."""

import json

import pytest

from server_proc.host_gate import REACHED_AT, TARGET_HOST, HostGate, HostRules, is_loopback, is_wildcard


def fault(rules, host, **more):
    """Return the status and the first words of the refusal, or None."""
    names = {"origin": "HTTP_ORIGIN", "fetch_site": "HTTP_SEC_FETCH_SITE", "target": TARGET_HOST, "at": REACHED_AT}
    environ = {names[key]: value for key, value in more.items()}
    if host is not None:
        environ["HTTP_HOST"] = host
    found = rules.fault(environ)
    return None if found is None else (found.status, found.detail.partition(":")[0].partition(" does")[0])


LOOPBACK = HostRules("127.0.0.1", 1340)
FOREIGN_HOST = (403, "The Host header")
FOREIGN_ORIGIN = (403, "The Origin header names another site")
FOREIGN_PAGE = (403, "Sec-Fetch-Site")


@pytest.mark.parametrize(
    "host", ["localhost:1340", "127.0.0.1:1340", "[::1]:1340", "LOCALHOST:1340", "[0:0:0:0:0:0:0:1]:1340"]
)
def test_names_of_this_machine_are_accepted_with_our_port(host):
    assert fault(LOOPBACK, host) is None


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]", "localhost:80"])
def test_without_a_port_they_mean_port_80(host):
    assert fault(LOOPBACK, host) == FOREIGN_HOST
    assert fault(HostRules("127.0.0.1", 80), host) is None


@pytest.mark.parametrize("host", [None, "", "localhost:1340, localhost:1340", "localhost:1340, evil.example"])
def test_there_is_exactly_one_host(host):
    assert fault(LOOPBACK, host)[0] == 400


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:1340",
        "localhost.evil.example:1340",
        "localhost:1341",
        "localhost:",
        "localhost:01340",
        "localhost.:1340",
        "127.0.0.1.:1340",
        "user@localhost:1340",
        "localhost:1340/",
        "::1",
        "::1:1340",
        "[::1",
        "[::1]1340",
        "[127.0.0.1]:1340",
        "[::1%25lo]:1340",
        "0.0.0.0:1340",
        "[::]:1340",
        "192.168.1.5:1340",
        "127.0.0.2:1340",
        "127.1:1340",
        "2130706433:1340",
        "0x7f.1:1340",
        " localhost:1340",
        "localhost:1340\u0661",
        "l\u00f6calhost:1340",
    ],
)
def test_every_other_name_is_refused(host):
    assert fault(LOOPBACK, host) == FOREIGN_HOST


@pytest.mark.parametrize(
    ("bound", "host"),
    [("192.168.1.5", "192.168.1.5:80"), ("fe80::1", "[fe80::1]:80"), ("fd00::0:1", "[FD00::1]:80")],
)
def test_the_bound_address_is_accepted(bound, host):
    assert fault(HostRules(bound, 80), host) is None
    assert fault(HostRules(bound, 80), "192.168.1.6:80") == FOREIGN_HOST


@pytest.mark.parametrize(
    ("bound", "reached_at", "host"),
    [
        ("0.0.0.0", "192.168.1.5", "192.168.1.5:1340"),
        ("::", "::ffff:192.168.1.5", "192.168.1.5:1340"),
        ("::", "fd00::1", "[fd00::1]:1340"),
        ("::", "fe80::1%eth0", "[fe80::1]:1340"),
    ],
)
def test_behind_a_wildcard_the_address_that_was_reached_is_accepted_and_no_other(bound, reached_at, host):
    rules = HostRules(bound, 1340)
    assert fault(rules, host, at=reached_at) is None
    assert fault(rules, host, at="10.0.0.1") == FOREIGN_HOST
    assert fault(rules, host) == FOREIGN_HOST
    assert fault(rules, "evil.example:1340", at=reached_at) == FOREIGN_HOST
    assert fault(rules, "0.0.0.0:1340", at=reached_at) == FOREIGN_HOST


@pytest.mark.parametrize(
    ("host", "is_ours"),
    [
        ("axon.example", True),
        ("AXON.example:1340", True),
        ("axon.example:443", False),
        ("kiosk.lan:8443", True),
        ("kiosk.lan", False),
        ("kiosk.lan:1340", False),
        ("www.axon.example", False),
    ],
)
def test_further_names_are_accepted_as_they_were_given(host, is_ours):
    rules = HostRules("127.0.0.1", 1340, ["axon.example", "kiosk.lan:8443"])
    assert (fault(rules, host) is None) == is_ours


def test_a_request_target_with_a_host_must_name_us_too():
    assert fault(LOOPBACK, "localhost:1340", target="localhost:1340") is None
    assert fault(LOOPBACK, "localhost:1340", target="evil.example") == FOREIGN_HOST
    assert fault(LOOPBACK, "evil.example", target="localhost:1340") == FOREIGN_HOST
    assert fault(LOOPBACK, None, target="localhost:1340")[0] == 400


@pytest.mark.parametrize("origin", ["http://localhost:1340", "http://127.0.0.1:1340", "HTTP://[::1]:1340"])
def test_our_own_pages_are_accepted(origin):
    assert fault(LOOPBACK, "localhost:1340", origin=origin) is None


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
        "http://localhost:1340, http://localhost:1340",
        "localhost:1340",
    ],
)
def test_pages_of_other_origins_are_refused(origin):
    assert fault(LOOPBACK, "localhost:1340", origin=origin) == FOREIGN_ORIGIN


def test_at_port_80_an_origin_has_no_port():
    assert fault(HostRules("127.0.0.1", 80), "localhost", origin="http://localhost") is None


def test_a_proxy_in_front_may_speak_https():
    rules = HostRules("127.0.0.1", 1340, ["axon.example"])
    assert fault(rules, "axon.example", origin="https://axon.example") is None
    assert fault(rules, "axon.example", origin="https://localhost:1340") == FOREIGN_ORIGIN


@pytest.mark.parametrize("site", ["cross-site", "same-site", "Cross-Site", "", "nonsense"])
def test_a_page_of_another_site_is_refused_where_it_sends_no_origin(site):
    assert fault(LOOPBACK, "localhost:1340", fetch_site=site) == FOREIGN_PAGE


@pytest.mark.parametrize("site", ["same-origin", "none"])
def test_what_the_user_asked_for_is_accepted(site):
    assert fault(LOOPBACK, "localhost:1340", fetch_site=site) is None


def test_a_refused_request_never_reaches_the_application():
    started = []

    def app(*_arguments):
        raise AssertionError("the gate let it through")

    gate = HostGate(app, LOOPBACK)
    body = b"".join(gate({"HTTP_HOST": "evil.example"}, lambda *answer: started.append(answer)))
    ((status, headers),) = started
    assert status == "403 Forbidden"
    assert dict(headers)["Content-Type"] == "application/problem+json"
    assert int(dict(headers)["Content-Length"]) == len(body)
    assert json.loads(body)["status"] == 403


def test_an_accepted_request_is_passed_on_untouched():
    environ = {"HTTP_HOST": "localhost:1340"}
    gate = HostGate(lambda environ, start_response: [environ, start_response], LOOPBACK)
    passed_on, start_response = gate(environ, print)
    assert passed_on is environ  # not a copy: what the application notes in it is read by the request log
    assert start_response is print


@pytest.mark.parametrize(
    ("host", "is_here_alone", "is_everywhere"),
    [
        ("127.0.0.1", True, False),
        ("127.8.8.8", True, False),
        ("::1", True, False),
        ("0.0.0.0", False, True),
        ("::", False, True),
        ("192.168.1.5", False, False),
        ("fe80::1%eth0", False, False),
    ],
)
def test_who_can_reach_a_bound_address(host, is_here_alone, is_everywhere):
    assert (is_loopback(host), is_wildcard(host)) == (is_here_alone, is_everywhere)
