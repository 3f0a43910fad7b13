"""Under a service manager: what a fake one hears from a real launcher."""

from __future__ import annotations

import secrets
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from launcher import remote
from tests.kill.conftest import DEADLINE_S, Launch, wait_until_stopped

BOTH = {"server": "steady", "ui": "steady"}
WATCHDOG_S = 0.4


class FakeManager:
    """Listens where $NOTIFY_SOCKET says."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address.replace("@", "\0", 1))
        self._lines: list[str] = []

    def wait_for(self, start: str, timeout_s: float = DEADLINE_S) -> str:
        """Return the next line that starts like this."""
        deadline_s = time.monotonic() + timeout_s
        while True:
            while self._lines:
                if (line := self._lines.pop(0)).startswith(start):
                    return line
            self._socket.settimeout(max(0.001, deadline_s - time.monotonic()))
            self._lines += self._socket.recv(65536).decode().split("\n")

    def rest(self) -> list[str]:
        """Return what has come and was not waited for."""
        self._socket.setblocking(False)
        try:
            while True:
                self._lines += self._socket.recv(65536).decode().split("\n")
        except BlockingIOError:
            return self._lines

    def is_silent_for(self, seconds: float) -> bool:
        """Tell whether nothing comes for this long, after what has come already."""
        self.rest().clear()
        self._socket.settimeout(seconds)
        try:
            return not self._socket.recv(65536)
        except TimeoutError:
            return True

    def let_its_queue_fill_up(self) -> None:
        """Have so much wait to be read that not one datagram more is taken; how much that is depends on the machine."""
        while True:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.setblocking(False)
                sent = 0
                try:
                    while True:
                        sender.sendto(b"X=1", self._socket.getsockname())
                        sent += 1
                except BlockingIOError:
                    if sent == 0:
                        return

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, directory: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeManager]:
    address = str(directory / "notify") if request.param == "path" else f"@axon-{secrets.token_hex(8)}"
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    monkeypatch.setenv("WATCHDOG_USEC", str(int(WATCHDOG_S * 1e6)))
    manager = FakeManager(address)
    yield manager
    manager.close()


def test_a_life_as_the_service_manager_hears_it(manager: FakeManager, launch: Launch) -> None:
    launched = launch(BOTH)

    manager.wait_for("READY=1")
    assert manager.wait_for("MAINPID=") == f"MAINPID={launched.pid}"
    url = launched.wait_for("launcher_ready")["url"]
    assert manager.wait_for("STATUS=") == f"STATUS={url}; server RUNNING, ui RUNNING"
    for child in BOTH:
        launched.wait_for("spare_ready", child=child)  # a process that is just being forked still has our environment
    for process in launched.tree():
        assert not {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"} & process.environ().keys()
    launched.process.send_signal(signal.SIGHUP)
    manager.wait_for("RELOADING=1")
    manager.wait_for("READY=1")
    assert remote.status(str(launched.socket))["children"][-1]["restarts"] == 1, "the last one's turn is over"
    launched.process.send_signal(signal.SIGTERM)
    manager.wait_for("STOPPING=1")
    assert launched.wait_for_exit() == 0


def test_a_reload_that_is_abandoned_ends_as_well(manager: FakeManager, launch: Launch) -> None:
    launched = launch({"server": "never_prepared"}, limits={"start_timeout_s": 5.0})
    manager.wait_for("READY=1")

    launched.process.send_signal(signal.SIGHUP)

    manager.wait_for("RELOADING=1")
    manager.wait_for("READY=1")
    launched.wait_for("restart_abandoned")


def test_a_stop_in_the_middle_of_a_reload_is_the_last_word(manager: FakeManager, launch: Launch) -> None:
    launched = launch({"server": "never_prepared"})
    manager.wait_for("READY=1")
    launched.process.send_signal(signal.SIGHUP)
    manager.wait_for("RELOADING=1")

    launched.process.send_signal(signal.SIGTERM)

    assert launched.wait_for_exit() == 0
    manager.wait_for("STOPPING=1")
    assert not [line for line in manager.rest() if line.startswith("READY=")]


def test_a_loop_that_stands_still_sends_no_watchdog_ping(manager: FakeManager, launch: Launch) -> None:
    launched = launch(BOTH, "--loop-sticks-at-sighup")
    manager.wait_for("READY=1")
    for _ in range(3):
        manager.wait_for("WATCHDOG=1")

    launched.process.send_signal(signal.SIGHUP)

    deadline_s = time.monotonic() + DEADLINE_S
    while not manager.is_silent_for(3 * WATCHDOG_S):
        assert time.monotonic() < deadline_s
    threads = psutil.Process(launched.pid).num_threads()
    assert threads > 1, "the other threads go on"


def test_a_stopped_launcher_sends_no_watchdog_ping_until_it_goes_on(manager: FakeManager, launch: Launch) -> None:
    launched = launch(BOTH)
    manager.wait_for("WATCHDOG=1")

    launched.process.send_signal(signal.SIGSTOP)
    wait_until_stopped(psutil.Process(launched.pid))

    assert manager.is_silent_for(2 * WATCHDOG_S)
    launched.process.send_signal(signal.SIGCONT)
    manager.wait_for("WATCHDOG=1")


def test_nobody_listening_does_no_harm(launch: Launch, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(directory / "nobody"))
    monkeypatch.setenv("WATCHDOG_USEC", "20000")

    launched = launch(BOTH)

    launched.wait_for("launcher_ready")
    launched.wait_for("service_not_notified")
    launched.process.send_signal(signal.SIGTERM)
    assert launched.wait_for_exit() == 0
    assert launched.remaining("service_not_notified") == []


def test_being_ready_is_said_again_though_nothing_else_happens(
    manager: FakeManager, launch: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WATCHDOG_USEC")
    manager.let_its_queue_fill_up()

    launched = launch({"server": "steady"}, "--hang-after", "0", "--no-spares")

    launched.wait_for("service_not_notified")
    launched.wait_for("launcher_ready")
    manager.wait_for("READY=1")


def test_a_service_manager_that_does_not_read_does_no_harm(manager: FakeManager, launch: Launch) -> None:
    launched = launch(BOTH)
    launched.wait_for("launcher_ready")
    manager.let_its_queue_fill_up()
    launched.wait_for("service_not_notified")

    launched.process.send_signal(signal.SIGHUP)
    for child in ("server", "ui"):
        launched.wait_for("child_exited", child=child)
    manager.wait_for("READY=1")
    launched.process.send_signal(signal.SIGTERM)
    assert launched.wait_for_exit() == 0
