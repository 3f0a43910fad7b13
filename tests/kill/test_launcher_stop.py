"""How a launch ends, and that nothing is left of it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from launcher.order import STOP_TIMEOUT_S
from tests.kill.conftest import DEADLINE_S, Launch, Launched, gone_within, in_a_quiet_moment

BOTH = {"server": "steady", "ui": "steady"}
PATIENTLY = ("--stop-within-s", "60")  # whoever stops when asked to is not killed, however busy this machine is


def stop_and_check(launched: Launched, reason: str) -> list[dict[str, object]]:
    """Wait for the end and check that it was clean; return how the children ended, in order."""
    assert launched.wait_for("shutdown_started")["reason"] == reason
    assert launched.wait_for("shutdown_completed")["exit_code"] == 0
    assert launched.wait_for_exit() == 0
    assert launched.stderr_after_exit() == ""
    assert launched.files() == set()
    return launched.remaining("child_exited")


@pytest.mark.parametrize("children", [BOTH, {"server": "blocked_in_c", "ui": "blocked_in_c"}])
def test_ctrl_c_stops_the_ui_then_the_server_without_a_traceback(launch: Launch, children: dict[str, str]) -> None:
    launched = launch(children, *PATIENTLY)
    launched.wait_for("launcher_ready")
    tree = launched.tree()

    launched.signal_group(signal.SIGINT)

    exits = stop_and_check(launched, "SIGINT")
    assert [(event["child"], event["exit_code"]) for event in exits] == [("ui", 0), ("server", 0)]
    assert launched.remaining("child_output") == []
    assert gone_within(tree, 0) == []


def test_ctrl_c_while_the_children_are_being_spawned_shows_no_traceback(launch: Launch) -> None:
    launched = launch(BOTH)
    launched.wait_for("child_started", child="server")

    launched.signal_group(signal.SIGINT)

    stop_and_check(launched, "SIGINT")
    assert launched.remaining("child_output") == []


def test_sighup_to_the_group_restarts_the_children_which_do_not_die_of_it(launch: Launch) -> None:
    launched = launch(BOTH, limits={"stop_timeout_s": 60.0})
    launched.wait_for("launcher_ready")
    for child in BOTH:
        launched.wait_for("child_ready", child=child)

    launched.signal_group(signal.SIGHUP)

    for child in BOTH:
        assert launched.wait_for("child_exited", child=child)["exit_code"] == 0
        launched.wait_for("child_ready", child=child)
    launched.process.terminate()
    stop_and_check(launched, "SIGTERM")


def test_sigterm_to_the_launcher_alone_stops_everything(launch: Launch) -> None:
    launched = launch(BOTH)
    launched.wait_for("launcher_ready")
    tree = launched.tree()

    launched.process.send_signal(signal.SIGTERM)

    stop_and_check(launched, "SIGTERM")
    assert gone_within(tree, 0) == []


def test_a_child_that_is_stopped_by_the_same_hand_has_not_crashed_though_its_death_is_seen_first(
    launch: Launch, directory: Path
) -> None:
    """As where a service manager stops every process: how quick which of them is, is left to chance."""
    told = directory / "state" / "told"
    launched = launch(BOTH, "--sees-deaths-late", str(told))
    server = psutil.Process(launched.wait_for("child_ready", child="server")["child_pid"])
    launched.wait_for("launcher_ready")

    server.terminate()
    assert gone_within([server], DEADLINE_S) == []
    launched.process.send_signal(signal.SIGTERM)
    told.touch()

    assert launched.wait_for_exit() == 0
    assert launched.remaining("restart_scheduled") == []


def test_a_ui_that_leaves_with_0_ends_everything(launch: Launch) -> None:
    launched = launch({"server": "steady", "ui": "quitting"})

    exits = stop_and_check(launched, "ui quit")

    assert [event["child"] for event in exits] == ["ui", "server"]


def test_a_server_that_leaves_with_0_is_replaced(launch: Launch) -> None:
    launched = launch({"server": "quitting", "ui": "steady"})

    assert launched.wait_for("restart_scheduled", child="server")["reason"] == "exit code 0"


def test_stubborn_children_are_killed_within_the_deadline(launch: Launch) -> None:
    def takes_its_time_and_no_more() -> bool:
        launched = launch({"server": "stubborn", "ui": "stubborn"})
        launched.wait_for("launcher_ready")
        began_s = time.monotonic()

        launched.process.send_signal(signal.SIGTERM)

        exits = stop_and_check(launched, "SIGTERM")
        took_s = time.monotonic() - began_s
        assert took_s > 4.0
        assert [(event["child"], event["signal"]) for event in exits] == [("ui", "SIGKILL"), ("server", "SIGKILL")]
        signals = [(event["child"], event["signal"]) for event in launched.remaining("child_signalled")]
        assert signals == [("ui", "SIGTERM"), ("ui", "SIGKILL"), ("server", "SIGTERM"), ("server", "SIGKILL")]
        return took_s < 5.5

    assert in_a_quiet_moment(takes_its_time_and_no_more)


def test_a_tree_that_somebody_has_stopped_goes_within_the_deadline_to_its_last_process(launch: Launch) -> None:
    def goes_in_time() -> bool:
        launched = launch(BOTH)
        launched.wait_for("launcher_ready")
        tree = launched.tree()
        for process in tree:
            process.suspend()
        began_s = time.monotonic()

        launched.process.terminate()

        stop_and_check(launched, "SIGTERM")
        took_s = time.monotonic() - began_s
        assert gone_within(tree, 0) == []
        return took_s < STOP_TIMEOUT_S + 0.5

    assert in_a_quiet_moment(goes_in_time)


def test_a_second_ctrl_c_kills_now(launch: Launch) -> None:
    launched = launch({"server": "stubborn", "ui": "stubborn"}, "--stop-within-s", "3600")
    launched.wait_for("launcher_ready")
    launched.signal_group(signal.SIGINT)
    launched.wait_for("stop_ignored", proc="ui")

    launched.signal_group(signal.SIGINT)

    assert launched.wait_for_exit() == 0, "and not after an hour"
    assert launched.files() == set()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_in_the_last_moment_does_not_spoil_an_orderly_stop(launch: Launch, number: signal.Signals) -> None:
    """While the interpreter ends: a second Ctrl-C comes when it comes."""
    launched = launch(BOTH)
    launched.wait_for("launcher_ready")
    launched.process.terminate()
    launched.wait_for("shutdown_completed")

    while launched.process.poll() is None:
        launched.process.send_signal(number)

    assert launched.wait_for_exit() == 0
    assert launched.stderr_after_exit() == ""
    assert launched.files() == set()


def test_a_reader_that_goes_away_ends_the_launch_cleanly(launch: Launch) -> None:
    launched = launch(BOTH)
    launched.wait_for("launcher_ready")
    tree = launched.tree()
    assert launched.process.stdout is not None
    launched.process.stdout.close()

    # Something is written into the closed pipe, unless it has been noticed before.
    server = next(process for process in tree if process.pid == server_pid(launched))
    with contextlib.suppress(psutil.NoSuchProcess):
        server.send_signal(signal.SIGKILL)

    assert launched.process.wait(DEADLINE_S) == 0
    assert launched.stderr_after_exit() == ""
    assert launched.files() == set()
    assert gone_within(tree, 0) == []


def server_pid(launched: Launched) -> int:
    pid: int = launched.remaining("child_started")[0]["child_pid"]
    return pid


def test_a_reader_that_stands_still_does_not_stop_supervision(launch: Launch) -> None:
    launched = launch({"server": "chattering", "ui": "steady"})
    launched.wait_for("launcher_ready")
    pid = launched.remaining("child_started")[0]["child_pid"]
    # From here on nobody reads stdout, which fills up; the log file tells what happens meanwhile.
    os.kill(pid, signal.SIGKILL)

    with subprocess.Popen(
        ["/usr/bin/tail", "-n", "+1", "-F", str(launched.directory / "state/logs/axon.jsonl")], stdout=subprocess.PIPE
    ) as tail:
        assert tail.stdout is not None
        ready = 0
        for line in tail.stdout:
            event = json.loads(line)
            ready += event["event"] == "child_ready" and event["child"] == "server"
            if ready == 2:
                break
        tail.kill()
    launched.process.send_signal(signal.SIGTERM)
    assert launched.process.wait(DEADLINE_S) == 0, "the flush at the end is bounded"
    assert not psutil.pid_exists(pid)
