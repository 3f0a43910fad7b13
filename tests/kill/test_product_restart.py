"""Planned restarts of the whole product under load, and what was in flight when it is told to stop."""

from __future__ import annotations

import http.client
import os
import select
import signal
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from launcher import remote
from tests.kill.conftest import DEADLINE_S, Launch, Launched, in_a_quiet_moment
from tests.kill.posters import Posters
from tests.kill.product import Product
from tests.kill.test_launcher_hangs import blocking
from tests.unit.ipc.channel import eventually

RESTARTS = 4


@pytest.fixture
def environment() -> dict[str, str]:
    """What is said to the product beside its options."""
    return {}


@pytest.fixture(params=[(), ("--no-spares",)], ids=["spares", "no spares"])
def product(request: pytest.FixtureRequest, directory: Path, environment: dict[str, str]) -> Iterator[Product]:
    running = Product(directory, *request.param, environment=environment)
    try:
        yield running.wait_until_ready()
    finally:
        running.clean_up()


def test_planned_restarts_under_load_fail_no_request_and_lose_no_message(product: Product) -> None:
    """Marks that are answered 201 by the old process and by the new reach a client once and in their order."""
    received: list[str] = []
    everything = threading.Event()
    client = product.client("tester")

    @client.add_message_handler
    def keep(payload: dict[str, str]) -> None:
        received.append(payload["personId"])
        if payload["personId"] == "last":
            everything.set()

    client.start()
    client.request({"type": "snapshot"}, timeout_s=DEADLINE_S)
    posters = Posters(product.url)
    posters.start()
    try:
        for number in range(RESTARTS):
            if number % 2:
                remote.restart(str(product.socket), "server")
            else:
                os.kill(product.pid, signal.SIGHUP)
            before, product.pids["server"] = product.pids["server"], 0
            product.wait_for("child_exited", child="server", child_pid=before, exit_code=0)
            product.pids["server"] = product.wait_for("child_ready", child="server")["child_pid"]
            if not number % 2:
                product.wait_for("child_ready", child="ui")
        posters.finish()
        assert product.post_mark("last") == 201
        assert everything.wait(DEADLINE_S)
    finally:
        posters.finish()
        client.stop()
    assert posters.failed == []
    assert len(posters.answered) > RESTARTS
    assert received == product.stored_people()
    assert sorted(received) == sorted([*posters.answered, "last"])
    assert product.remaining("restart_scheduled") == product.remaining("restart_abandoned") == []


# More commits than a server makes by itself when it starts.
@pytest.mark.parametrize("environment", [{"AXON_FAULT": "before_commit:SIGSTOP:5", "AXON_HANG_AFTER": "0"}])
def test_a_mark_of_the_last_moment_reaches_who_connects_to_the_successor(product: Product) -> None:
    """A request that the old process still has, when the new one has prepared long since, is announced all the same."""
    server = psutil.Process(product.pids["server"])
    people: list[str] = []
    with closing(http.client.HTTPConnection(urlsplit(product.url).netloc, timeout=DEADLINE_S)) as connection:
        while server.status() != psutil.STATUS_STOPPED:  # in the middle of writing the last one
            if people:
                assert connection.getresponse().read()
            people.append(f"p{len(people)}")
            body = f'{{"personId": "{people[-1]}"}}'
            connection.request("POST", "/api/attendance", body, {"Content-Type": "application/json"})
            eventually(lambda: is_answered(connection) or server.status() == psutil.STATUS_STOPPED, DEADLINE_S)
        remote.restart(str(product.socket), "server")
        product.wait_for("successor_ready", child="server")
        server.resume()
        assert connection.getresponse().status == 201

    product.wait_for("message_received", proc="ui", type="attendance", seq=len(people))
    product.wait_for("peer_joined", proc="server", resumed=True, cursor=len(people))
    assert product.stored_people() == people


def is_answered(connection: http.client.HTTPConnection) -> bool:
    return bool(select.select([connection.sock], [], [], 0)[0])


@pytest.mark.parametrize("event", ["restart", "crash"])
def test_a_socket_file_that_was_removed_is_there_again_with_the_next_server(product: Product, event: str) -> None:
    product.socket.unlink()

    if event == "restart":
        remote.restart(str(product.socket), "server")
    else:
        os.kill(product.pids["server"], signal.SIGKILL)

    assert product.wait_for("socket_missing")["is_rebound"]
    product.wait_for("child_ready", child="server")
    client = product.client("tester")
    client.start()
    try:
        assert client.request({"type": "snapshot"}, timeout_s=DEADLINE_S)["total"] == 0
    finally:
        client.stop()
    product.wait_for("peer_joined", proc="server", resumed=True)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGHUP])
def test_a_handler_of_three_seconds_is_answered(launch: Launch, how: signal.Signals) -> None:
    def is_answered() -> bool:
        launched, url = with_blockable_server(launch)
        with blocking(url, 1, 3.0) as wait_for_answers:
            launched.wait_for("block_begun")
            os.kill(launched.pid, how)
            try:
                wait_for_answers()
            except AssertionError:
                return False
        return ends_in_order(launched)

    assert in_a_quiet_moment(is_answered)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGHUP])
def test_a_handler_that_never_ends_does_not_keep_the_server_from_an_orderly_end(
    launch: Launch, how: signal.Signals
) -> None:
    def is_orderly() -> bool:
        launched, url = with_blockable_server(launch)
        with blocking(url, 1, 3600.0):
            launched.wait_for("block_begun")
            os.kill(launched.pid, how)
            return ends_in_order(launched)

    assert in_a_quiet_moment(is_orderly)


def with_blockable_server(launch: Launch) -> tuple[Launched, str]:
    launched = launch({"server": "blockable_server", "ui": "ui_proc.main:run"}, "--ui", "offscreen")
    launched.wait_for("child_ready", child="ui")
    return launched, launched.wait_for("launcher_ready")["url"]


def ends_in_order(launched: Launched) -> bool:
    """Wait for the server's end, and then for that of all; tell whether the server ended by itself."""
    is_orderly = launched.wait_for("child_exited", child="server")["exit_code"] == 0
    launched.process.terminate()
    launched.wait_for_exit()
    return is_orderly


@pytest.mark.parametrize("product", [()], indirect=True)
def test_what_is_in_flight_at_sigterm_is_answered(product: Product) -> None:
    """Also by whoever had only just connected."""
    posters = Posters(product.url, keeping=4, connecting=4)
    posters.start()
    while len(posters.answered) < 50:
        assert product.post_mark(f"x {len(posters.answered)}") in (200, 201)

    posters.finish(waits=False)  # each has its last request under way
    product.process.send_signal(signal.SIGTERM)

    assert product.wait_for_exit() == 0
    posters.finish()
    assert set(posters.answered) <= set(product.stored_people())
    assert posters.failed == []
