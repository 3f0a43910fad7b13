"""Processes in waiting: spares that take over at a death, successors in a planned restart."""

from __future__ import annotations

import os
import signal
import socket
import threading
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from tests.kill.conftest import (
    DEADLINE_S,
    Event,
    Launch,
    Launched,
    gone_within,
    in_a_quiet_moment,
    is_gone_in_time,
    wait_until_stopped,
)

BOTH = {"server": "accepting", "ui": "steady"}
AT_ONCE = {"stable_s": 0.0, "intensity": 1000}


def ready(launched: Launched) -> dict[str, int]:
    pids = {child: launched.wait_for("child_ready", child=child)["child_pid"] for child in BOTH}
    launched.wait_for("launcher_ready")
    return pids


def spares(launched: Launched) -> dict[str, int]:
    return {child: launched.wait_for("spare_ready", child=child)["child_pid"] for child in BOTH}


def connect(url: str) -> socket.socket:
    address = urlsplit(url)
    return socket.create_connection((address.hostname or "", address.port or 0), timeout=DEADLINE_S)


def answer(url: str) -> bytes:
    with connect(url) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
        return connection.recv(100)


@pytest.mark.parametrize("victim", ["server", "ui"])
def test_a_killed_childs_spare_takes_its_place_and_gets_a_spare_of_its_own(launch: Launch, victim: str) -> None:
    launched = launch(BOTH, limits=AT_ONCE)
    pids, waiting = ready(launched), spares(launched)
    assert not set(pids.values()) & set(waiting.values())

    for _ in range(3):
        os.kill(pids[victim], signal.SIGKILL)

        assert launched.wait_for("child_exited", child=victim)["child_pid"] == pids[victim]
        assert launched.wait_for("child_ready", child=victim)["child_pid"] == waiting[victim]
        pids[victim] = waiting[victim]
        waiting[victim] = launched.wait_for("spare_ready", child=victim)["child_pid"]
    assert len({*pids.values(), *waiting.values()}) == 4


def test_no_spares_means_none_and_a_killed_child_is_replaced_all_the_same(launch: Launch) -> None:
    launched = launch(BOTH, "--no-spares", limits=AT_ONCE)
    pids = ready(launched)

    os.kill(pids["server"], signal.SIGKILL)

    assert launched.wait_for("child_ready", child="server")["child_pid"] != pids["server"]
    launched.process.send_signal(signal.SIGTERM)
    assert launched.wait_for_exit() == 0
    assert launched.remaining("spare_ready") == []


@pytest.mark.parametrize("child", ["server", "ui"])
def test_the_death_of_a_spare_is_no_crash_and_it_is_replaced(launch: Launch, child: str) -> None:
    launched = launch(BOTH)
    pids, waiting = ready(launched), spares(launched)

    for _ in range(2):
        os.kill(waiting[child], signal.SIGKILL)
        exited = launched.wait_for("spare_exited", child=child)
        assert (exited["child_pid"], exited["signal"]) == (waiting[child], "SIGKILL")
        waiting[child] = launched.wait_for("spare_ready", child=child)["child_pid"]
    assert launched.remaining("child_exited") == launched.remaining("restart_scheduled") == []
    assert set(pids.values()) | set(waiting.values()) <= {process.pid for process in launched.tree()}


def test_a_child_and_its_spare_killed_together_are_both_replaced(launch: Launch) -> None:
    launched = launch(BOTH, limits=AT_ONCE)
    pids, waiting = ready(launched), spares(launched)

    for pid in (waiting["server"], pids["server"]):
        os.kill(pid, signal.SIGKILL)

    successor = launched.wait_for("child_ready", child="server")["child_pid"]
    assert successor not in (pids["server"], waiting["server"])
    launched.wait_for("spare_ready", child="server")


def test_a_spare_that_died_with_the_child_is_no_second_crash(launch: Launch, directory: Path) -> None:
    let_go = directory / "let-go"
    launched = launch(BOTH, "--sees-deaths-late", str(let_go), limits=AT_ONCE)
    pids, waiting = ready(launched), spares(launched)

    for pid in (pids["server"], waiting["server"]):
        os.kill(pid, signal.SIGKILL)
        assert gone_within([psutil.Process(pid)], DEADLINE_S) == []
    let_go.touch()

    assert launched.wait_for("restart_scheduled", child="server")["delay_s"] == 0
    assert launched.wait_for("spare_exited", child="server")["child_pid"] == waiting["server"]
    launched.wait_for("child_ready", child="server")
    assert launched.remaining("restart_scheduled") == []


def test_a_spare_that_somebody_has_stopped_is_passed_over(launch: Launch) -> None:
    launched = launch(BOTH, limits=AT_ONCE)
    pids, waiting = ready(launched), spares(launched)
    doomed = psutil.Process(waiting["server"])
    doomed.suspend()
    wait_until_stopped(doomed)

    os.kill(pids["server"], signal.SIGKILL)

    assert launched.wait_for("child_ready", child="server")["child_pid"] != doomed.pid
    assert gone_within([doomed], DEADLINE_S) == []


def test_a_killed_launcher_takes_spares_with_it_stopped_ones_too(launch: Launch) -> None:
    def takes_them() -> bool:
        launched = launch(BOTH)
        ready(launched)
        waiting = spares(launched)
        tree = launched.tree()
        assert set(waiting.values()) <= {process.pid for process in tree}
        os.kill(waiting["ui"], signal.SIGSTOP)

        os.kill(launched.pid, signal.SIGKILL)

        return is_gone_in_time(tree)

    assert in_a_quiet_moment(takes_them)


def test_a_server_that_is_given_up_leaves_no_spare_and_nobody_in_the_backlog(launch: Launch) -> None:
    launched = launch(BOTH, limits={"stable_s": 0.0, "intensity": 2})
    pids = {child: launched.wait_for("child_ready", child=child)["child_pid"] for child in BOTH}
    url = launched.wait_for("launcher_ready")["url"]
    waiting = spares(launched)
    os.kill(pids["server"], signal.SIGKILL)
    launched.wait_for("child_ready", child="server")
    second = launched.wait_for("spare_ready", child="server")["child_pid"]
    doomed = [psutil.Process(pid) for pid in (waiting["server"], second)]

    os.kill(waiting["server"], signal.SIGKILL)

    launched.wait_for("child_fatal", child="server")
    with pytest.raises(ConnectionRefusedError):
        connect(url)
    assert not launched.socket.exists()
    assert gone_within(doomed, DEADLINE_S) == []
    launched.process.send_signal(signal.SIGHUP)
    revived = launched.wait_for("child_ready", child="server")["child_pid"]
    assert revived != second, "it had the closed sockets"
    assert answer(url).startswith(b"HTTP/1.1 204")


def test_sighup_has_each_successor_wait_before_its_predecessor_stops(launch: Launch) -> None:
    launched = launch(BOTH, limits={"stop_timeout_s": 60.0})
    pids, waiting = ready(launched), spares(launched)

    launched.process.send_signal(signal.SIGHUP)

    successors = {}
    for child in BOTH:
        launched.wait_for("child_exited", child=child, child_pid=pids[child], exit_code=0)
        successors[child] = launched.wait_for("child_ready", child=child)["child_pid"]
    order = log_order(launched, ("child_ready", successors["ui"]))
    assert order.index(("successor_ready", successors["server"])) < order.index(("child_exited", pids["server"]))
    assert order.index(("child_ready", successors["server"])) < order.index(("child_exited", pids["ui"]))
    assert not set(successors.values()) & set(waiting.values()), "what they have imported may have changed since"
    assert launched.remaining("restart_scheduled") == []


def log_order(launched: Launched, last: tuple[str, int]) -> list[tuple[str, int | None]]:
    """Return (event, child_pid) of the log file, which has every event, once it has `last`."""
    return [key(event) for event in launched.logged(lambda events: last in map(key, events))]


def key(event: Event) -> tuple[str, int | None]:
    return event["event"], event.get("child_pid")


@pytest.mark.parametrize("options", [(), ("--no-spares",)])
def test_nobody_is_refused_or_cut_in_planned_restarts(launch: Launch, options: tuple[str, ...]) -> None:
    launched = launch(BOTH, *options)
    for child in BOTH:
        launched.wait_for("child_ready", child=child)
    url = launched.wait_for("launcher_ready")["url"]
    failures: list[str] = []
    finished = threading.Event()

    def ask_until_finished() -> None:
        while not finished.is_set():
            try:
                connect(url).close()
            except OSError as error:
                failures.append(repr(error))

    asking = threading.Thread(target=ask_until_finished)
    asking.start()
    try:
        for _ in range(3):
            launched.process.send_signal(signal.SIGHUP)
            for child in BOTH:
                launched.wait_for("child_ready", child=child)
    finally:
        finished.set()
        asking.join()
    assert failures == []


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ("works_once", "its successor failed: the new configuration is wrong"),
        ("never_prepared", "its successor was not ready within 5 s"),
    ],
)
def test_a_restart_without_a_successor_is_abandoned_and_the_child_works_on(
    launch: Launch, entry: str, reason: str
) -> None:
    launched = launch({"server": entry, "ui": "steady"}, limits={"start_timeout_s": 5.0})
    pids = ready(launched)

    launched.process.send_signal(signal.SIGHUP)

    assert launched.wait_for("restart_abandoned", child="server")["reason"] == reason
    launched.wait_for("child_exited", child="ui", child_pid=pids["ui"])
    launched.wait_for("child_ready", child="ui")
    assert psutil.pid_exists(pids["server"])
    assert launched.remaining("child_exited") == []


def test_a_child_that_dies_while_its_successor_prepares_is_succeeded(launch: Launch) -> None:
    launched = launch(BOTH, "--no-spares", limits=AT_ONCE)
    pids = ready(launched)
    os.kill(pids["server"], signal.SIGSTOP)  # so that it does not stop when it is asked to
    launched.process.send_signal(signal.SIGHUP)
    successor = launched.wait_for("successor_ready", child="server")["child_pid"]

    os.kill(pids["server"], signal.SIGKILL)

    assert launched.wait_for("child_ready", child="server")["child_pid"] == successor


@pytest.mark.parametrize("moment", ["spare_ready", "restart_requested", "successor_begun", "successor_ready"])
def test_a_stop_while_processes_wait_is_clean(launch: Launch, moment: str) -> None:
    launched = launch(BOTH)
    ready(launched)
    if moment != "spare_ready":
        launched.process.send_signal(signal.SIGHUP)
    launched.wait_for(moment)
    tree = launched.tree()

    launched.process.send_signal(signal.SIGTERM)

    assert launched.wait_for_exit() == 0
    assert launched.stderr_after_exit() == ""
    assert launched.files() == set()
    assert gone_within(tree, 0) == []
    assert launched.remaining("spare_exited") == launched.remaining("child_output") == []


def test_status_names_the_spares(launch: Launch) -> None:
    from launcher import remote

    launched = launch(BOTH)
    pids, waiting = ready(launched), spares(launched)

    status = remote.status(str(launched.socket))

    assert {each["name"]: (each["pid"], each["spare_pid"]) for each in status["children"]} == {
        child: (pids[child], waiting[child]) for child in BOTH
    }
