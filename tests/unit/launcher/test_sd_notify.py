"""systemd's notification protocol, against a fake notify socket."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from launcher.policy_types import State
from launcher.sd_notify import Notifier, Service, take_service
from launcher.status import ChildStatus, Snapshot


class FakeManager:
    """The service manager's end."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address.replace("@", "\0", 1))
        self._socket.setblocking(False)

    def heard(self) -> list[str]:
        """Return all lines that have come."""
        lines = []
        while True:
            try:
                lines += self._socket.recv(65536).decode().split("\n")
            except BlockingIOError:
                return lines

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FakeManager]:
    manager = FakeManager(str(tmp_path / "n") if request.param == "path" else f"@axon-{secrets.token_hex(8)}")
    yield manager
    manager.close()


@pytest.fixture
def notifier(manager: FakeManager) -> Iterator[Notifier]:
    notifier = Notifier(Service(address=manager.address, ping_s=10.0))
    yield notifier
    notifier.close()


def snapshot(
    server: State,
    ui: State = State.RUNNING,
    *,
    is_stopping: bool = False,
    is_restarting: bool = False,
    reason: str = "",
) -> Snapshot:
    children = tuple(
        ChildStatus(name=name, state=state, pid=5, restarts=0, started_s=0.0, last_exit=None, reason=reason)
        for name, state in (("server", server), ("ui", ui))
    )
    return Snapshot(
        run_id="r",
        pid=4711,
        started_s=0.0,
        socket="s",
        control_socket="c",
        url="http://127.0.0.1:1340",
        children=children,
        is_stopping=is_stopping,
        is_restarting=is_restarting,
    )


def test_ready_is_said_once_when_every_child_is(notifier: Notifier, manager: FakeManager) -> None:
    notifier.publish(snapshot(State.STARTING, State.STOPPED))
    assert manager.heard() == ["STATUS=http://127.0.0.1:1340; server STARTING, ui STOPPED"]

    notifier.publish(snapshot(State.RUNNING))
    assert manager.heard() == ["READY=1", "MAINPID=4711", "STATUS=http://127.0.0.1:1340; server RUNNING, ui RUNNING"]

    notifier.publish(snapshot(State.BACKOFF, reason="killed\nREADY=0"))
    notifier.publish(snapshot(State.RUNNING))
    notifier.publish(snapshot(State.RUNNING))
    assert manager.heard() == [
        "STATUS=http://127.0.0.1:1340; server BACKOFF (killed READY=0), ui RUNNING (killed READY=0)",
        "STATUS=http://127.0.0.1:1340; server RUNNING, ui RUNNING",
    ]


def test_the_end_is_said_once(notifier: Notifier, manager: FakeManager) -> None:
    notifier.publish(snapshot(State.RUNNING, State.STOPPING, is_stopping=True))
    notifier.publish(snapshot(State.RUNNING, State.STOPPED, is_stopping=True))
    notifier.stopping()

    assert [line for line in manager.heard() if not line.startswith("STATUS=stopping; ")] == ["STOPPING=1"]


def test_a_reload_ends_when_all_is_settled(notifier: Notifier, manager: FakeManager) -> None:
    notifier.reloading()
    assert manager.heard() == [], "what is not ready yet cannot reload"
    notifier.publish(snapshot(State.RUNNING))
    manager.heard()

    notifier.reloading()
    notifier.publish(snapshot(State.STOPPING))
    reloading, at, _status = manager.heard()
    assert reloading == "RELOADING=1"
    assert at.removeprefix("MONOTONIC_USEC=").isdecimal()

    notifier.publish(snapshot(State.FATAL))
    assert manager.heard()[0] == "READY=1"


def test_a_reload_lasts_until_the_last_of_its_restarts(notifier: Notifier, manager: FakeManager) -> None:
    notifier.publish(snapshot(State.RUNNING))
    notifier.reloading()
    manager.heard()

    for state in (State.RUNNING, State.STOPPING, State.RUNNING):
        notifier.publish(snapshot(state, is_restarting=True))
    assert "READY=1" not in manager.heard()

    notifier.publish(snapshot(State.RUNNING))
    assert manager.heard() == ["READY=1"]


def test_a_reload_that_a_stop_interrupts_does_not_end_in_being_ready(notifier: Notifier, manager: FakeManager) -> None:
    notifier.publish(snapshot(State.RUNNING))
    notifier.reloading()
    notifier.publish(snapshot(State.RUNNING, State.STOPPING, is_stopping=True))
    assert "STOPPING=1" in manager.heard()

    notifier.publish(snapshot(State.STOPPED, State.STOPPED, is_stopping=True))

    assert manager.heard() == ["STATUS=stopping; server STOPPED, ui STOPPED"]


def test_the_watchdog_hears_of_turns_of_the_loop_and_of_nothing_else(notifier: Notifier, manager: FakeManager) -> None:
    notifier.tick(100.0)
    assert manager.heard() == ["WATCHDOG=1"]
    assert notifier.deadline_s == 110.0
    notifier.tick(109.9)
    notifier.publish(snapshot(State.STARTING))
    assert "WATCHDOG=1" not in manager.heard()
    notifier.tick(110.0)
    assert manager.heard() == ["WATCHDOG=1"]


def test_a_full_socket_loses_pings_and_nothing_else(notifier: Notifier, manager: FakeManager) -> None:
    now = 0.0
    with capture_logs() as logs:
        while not logs:
            now += 10.0
            notifier.tick(now)
        notifier.publish(snapshot(State.RUNNING))
        notifier.publish(snapshot(State.BACKOFF))
    assert [line["event"] for line in logs] == ["service_not_notified"]
    assert set(manager.heard()) == {"WATCHDOG=1"}

    notifier.tick(float("inf"))

    assert manager.heard() == [
        "WATCHDOG=1",
        "READY=1",
        "MAINPID=4711",
        "STATUS=http://127.0.0.1:1340; server BACKOFF, ui RUNNING",
    ]


def test_what_has_not_arrived_is_sent_again_without_a_watchdog_too(manager: FakeManager) -> None:
    service, now = Service(address=manager.address), 0.0
    with closing(Notifier(service)) as notifier, closing(Notifier(replace(service, ping_s=1.0))) as other:
        assert notifier.deadline_s is None
        with capture_logs() as logs:
            while not logs:  # its queue is full then
                now += 1.0
                other.tick(now)
            notifier.publish(snapshot(State.RUNNING))
        manager.heard()

        assert notifier.deadline_s is not None
        notifier.tick(notifier.deadline_s)

        assert "READY=1" in manager.heard()
        assert notifier.deadline_s is None


@pytest.mark.parametrize("address", ["/nonexistent/notify", "/" + "x" * 200, "@nobody-" + "x" * 16])
def test_a_missing_socket_is_said_once_and_does_no_harm(address: str) -> None:
    notifier = Notifier(Service(address=address, ping_s=1.0))
    with capture_logs() as logs:
        notifier.publish(snapshot(State.RUNNING))
        for now in range(5):
            notifier.tick(float(now))
        notifier.stopping()
    notifier.close()
    notifier.stopping()

    assert [line["event"] for line in logs] == ["service_not_notified"]


def test_without_a_service_manager_there_is_nothing_to_do() -> None:
    notifier = Notifier(Service(ping_s=1.0))

    notifier.publish(snapshot(State.RUNNING))
    notifier.tick(0.0)
    notifier.close()

    assert notifier.deadline_s is None


@pytest.mark.parametrize(
    ("environment", "service"),
    [
        ({}, Service()),
        ({"NOTIFY_SOCKET": "/run/n"}, Service(address="/run/n")),
        ({"NOTIFY_SOCKET": "@n", "WATCHDOG_USEC": "20000000"}, Service(address="@n", ping_s=10.0)),
        (
            {"NOTIFY_SOCKET": "@n", "WATCHDOG_USEC": "20000000", "WATCHDOG_PID": str(os.getpid())},
            Service(address="@n", ping_s=10.0),
        ),
        ({"NOTIFY_SOCKET": "@n", "WATCHDOG_USEC": "20000000", "WATCHDOG_PID": "1"}, Service(address="@n")),
        ({"NOTIFY_SOCKET": "@n", "WATCHDOG_USEC": "soon"}, Service(address="@n")),
        ({"NOTIFY_SOCKET": "@n", "WATCHDOG_USEC": "0"}, Service(address="@n")),
        ({"NOTIFY_SOCKET": "@n", "WATCHDOG_USEC": str(2**64 - 1)}, Service(address="@n", ping_s=3600.0)),
        ({"NOTIFY_SOCKET": "@n", "WATCHDOG_USEC": "9" * 400}, Service(address="@n")),
        ({"NOTIFY_SOCKET": "@n", "WATCHDOG_USEC": "9" * 5000}, Service(address="@n")),
        ({"NOTIFY_SOCKET": "@n", "WATCHDOG_USEC": "\u0663"}, Service(address="@n")),
        ({"NOTIFY_SOCKET": "@n", "WATCHDOG_USEC": "1"}, Service(address="@n", ping_s=0.001)),
        ({"NOTIFY_SOCKET": "vsock:2:1234"}, Service()),
        ({"NOTIFY_SOCKET": "@"}, Service()),
    ],
)
def test_what_the_environment_says_is_taken_out_of_it(environment: dict[str, str], service: Service) -> None:
    environment = {"PATH": "/bin", **environment}

    assert take_service(environment) == service
    assert environment == {"PATH": "/bin"}
