"""Children and launchers that die by SIGKILL, really."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from tests.kill.conftest import DEADLINE_S, Launch, Launched, in_a_quiet_moment, is_gone_in_time

BOTH = {"server": "accepting", "ui": "steady"}


def ready(launched: Launched) -> dict[str, int]:
    """Wait until all children are ready; return their pids."""
    pids = {}
    for _ in range(2):
        event = launched.wait_for("child_ready")
        pids[event["child"]] = event["child_pid"]
    launched.wait_for("launcher_ready")
    return pids


@pytest.mark.parametrize(("victim", "bystander"), [("server", "ui"), ("ui", "server")])
def test_a_killed_child_is_replaced_and_the_other_one_stays(launch: Launch, victim: str, bystander: str) -> None:
    launched = launch(BOTH, limits={"stable_s": 1000.0})
    pids = ready(launched)

    os.kill(pids[victim], signal.SIGKILL)

    exited = launched.wait_for("child_exited", child=victim)
    assert (exited["child_pid"], exited["exit_code"], exited["signal"]) == (pids[victim], None, "SIGKILL")
    assert exited["uptime_s"] > 0
    scheduled = launched.wait_for("restart_scheduled", child=victim)
    assert (scheduled["attempt"], scheduled["reason"]) == (1, "killed by SIGKILL")
    assert 0.125 <= scheduled["delay_s"] <= 0.25
    successor = launched.wait_for("child_ready", child=victim)["child_pid"]
    alive = {process.pid for process in launched.tree()}
    assert {successor, pids[bystander]} <= alive
    assert pids[victim] not in alive
    assert not launched.remaining("launcher_ready"), "said once"


@pytest.mark.parametrize("victim", ["server", "ui"])
def test_after_a_stable_run_a_child_is_replaced_at_once_and_its_successor_heard(launch: Launch, victim: str) -> None:
    launched = launch(BOTH, limits={"stable_s": 0.0})
    pids = ready(launched)

    # The successor gets the descriptor numbers that its predecessor has just given back.
    os.kill(pids[victim], signal.SIGKILL)

    assert launched.wait_for("restart_scheduled", child=victim)["delay_s"] == 0
    successor = launched.wait_for("child_ready", child=victim)["child_pid"]
    launched.wait_for("child_working", proc=victim, pid=successor)
    os.kill(successor, signal.SIGKILL)
    last = launched.wait_for("child_ready", child=victim)["child_pid"]
    launched.wait_for("child_working", proc=victim, pid=last)


def test_no_connection_is_refused_while_the_server_is_replaced(launch: Launch) -> None:
    launched = launch(BOTH)
    launched.wait_for("child_ready", child="server")
    address = urlsplit(launched.wait_for("launcher_ready")["url"])
    pid = launched.wait_for("child_started", child="server")["child_pid"]

    os.kill(pid, signal.SIGKILL)
    launched.wait_for("child_exited", child="server")
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=DEADLINE_S)
    connection.request("GET", "/")

    assert connection.getresponse().status == 204
    connection.close()
    launched.wait_for("child_ready", child="server")


@pytest.mark.parametrize("server", ["steady", "blocked_in_c"])
def test_sigterm_to_a_child_stops_it_in_order_and_it_is_replaced(launch: Launch, server: str) -> None:
    launched = launch({"server": server})
    pid = launched.wait_for("child_ready")["child_pid"]

    os.kill(pid, signal.SIGTERM)

    assert launched.wait_for("child_exited")["exit_code"] == 0
    launched.wait_for("restart_scheduled", reason="exit code 0")
    assert launched.wait_for("child_ready")["child_pid"] != pid


def test_every_child_shares_the_locks_and_only_the_server_has_the_sockets(launch: Launch) -> None:
    launched = launch(BOTH)
    pids = ready(launched)
    locks = {str(launched.socket) + ".lock", str(launched.directory / "state" / "launcher.lock")}

    for pid in pids.values():
        assert locks <= held_files(pid)
    listening = {name: listening_inodes() & held_sockets(pid) for name, pid in pids.items()}
    assert (len(listening["server"]), len(listening["ui"])) == (2, 0)


def held_files(pid: int) -> set[str]:
    held = set()
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # it may be closing some just now
            held.add(str(path.readlink()))
    return held


def held_sockets(pid: int) -> set[str]:
    return {name[8:-1] for name in held_files(pid) if name.startswith("socket:[")}


def listening_inodes() -> set[str]:
    tcp = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    unix = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()[1:]]
    return {fields[9] for fields in tcp if fields[3] == "0A"} | {
        fields[6] for fields in unix if fields[3] == "00010000"
    }


def test_a_killed_launcher_takes_every_process_with_it(launch: Launch) -> None:
    def takes_them() -> bool:
        launched = launch(BOTH)
        ready(launched)
        return killed_with_its_tree(launched)

    assert in_a_quiet_moment(takes_them)


def killed_with_its_tree(launched: Launched) -> bool:
    """Kill a launcher; tell whether all below it are gone in time."""
    tree = launched.tree()
    assert len(tree) >= 2

    os.kill(launched.pid, signal.SIGKILL)

    return is_gone_in_time(tree)


def test_a_launcher_killed_right_after_spawning_takes_every_process_with_it(launch: Launch) -> None:
    def takes_them() -> bool:
        launched = launch(BOTH)
        launched.wait_for("child_started")
        return killed_with_its_tree(launched)

    assert in_a_quiet_moment(takes_them)


def test_a_stopped_child_does_not_outlive_a_killed_launcher(launch: Launch) -> None:
    def takes_them() -> bool:
        launched = launch(BOTH)
        for pid in ready(launched).values():
            os.kill(pid, signal.SIGSTOP)
        return killed_with_its_tree(launched)

    assert in_a_quiet_moment(takes_them)


def test_a_relaunch_right_after_a_kill_works_and_cleans_up_for_both(launch: Launch) -> None:
    first = launch(BOTH)
    ready(first)
    os.kill(first.pid, signal.SIGKILL)

    second = launch(BOTH)

    ready(second)
    second.process.send_signal(signal.SIGTERM)
    assert second.wait_for_exit() == 0
    assert second.files() == set()


def test_a_crash_loop_is_given_up_with_its_reason_and_revived_by_restart(launch: Launch) -> None:
    limits = {"backoff_base_s": 0.01, "intensity": 3}
    launched = launch({"server": "crashing", "ui": "steady"}, limits=limits)

    fatal = launched.wait_for("child_fatal", child="server")
    assert fatal["reason"] == "3 crashes within 60 s, the last one: exit code 1"
    assert len(launched.remaining("restart_scheduled")) == 2
    assert "broken as ordered" in launched.wait_for("child_crashed", proc="server")["exception"]
    ui = launched.wait_for("child_ready", child="ui")
    assert psutil.pid_exists(ui["child_pid"]), "the ui runs without the server"
    assert not launched.socket.exists(), "clients are refused, not left in the backlog"

    launched.process.send_signal(signal.SIGHUP)
    launched.wait_for("restart_requested")
    launched.wait_for("child_started", child="server")
    launched.wait_for("child_fatal", child="server")
    assert launched.process.poll() is None


def test_exit_on_fatal_ends_with_70(launch: Launch) -> None:
    launched = launch(
        {"server": "crashing", "ui": "steady"}, "--exit-on-fatal", limits={"backoff_base_s": 0.01, "intensity": 2}
    )

    launched.wait_for("child_fatal", child="server")

    assert launched.wait_for_exit() == 70
    assert launched.files() == set()


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ("unconfigured", "the widget library is missing"),
        ("tests.kill.no_such_module:run", "cannot import tests.kill.no_such_module:run: ModuleNotFoundError"),
        ("no_such_function", "cannot import tests.kill.children:no_such_function: AttributeError"),
    ],
)
def test_a_child_that_cannot_be_set_up_is_not_tried_again(launch: Launch, entry: str, reason: str) -> None:
    launched = launch({"server": entry, "ui": "steady"})

    fatal = launched.wait_for("child_fatal", child="server")

    assert fatal["reason"].startswith(reason)
    failed = launched.wait_for("child_setup_failed", proc="server")
    assert failed["reason"] == fatal["reason"]
    launched.wait_for("child_exited", child="server", exit_code=78)
    assert launched.remaining("restart_scheduled") == []
    launched.wait_for("child_ready", child="ui")


def test_a_child_that_is_never_ready_is_dumped_and_replaced(launch: Launch) -> None:
    launched = launch({"server": "never_ready"}, limits={"start_timeout_s": 5.0, "dump_s": 30.0})

    hung = launched.wait_for("child_hung", child="server")

    assert hung["reason"] == "not ready within 5 s"
    launched.wait_for("child_output", text="Fatal Python error: Aborted")
    launched.wait_for("child_exited", child="server", signal="SIGABRT")
    launched.wait_for("restart_scheduled", child="server", reason="not ready within 5 s")
