"""What children start goes with them, and with the launcher, whatever it did to hide."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.kill.conftest import DEADLINE_S, Launch, Launched, gone_within, in_a_quiet_moment, is_gone_in_time
from tests.unit.ipc.channel import eventually

PARENTS = {"server": "parent", "ui": "parent"}


def ready(launched: Launched) -> dict[str, int]:
    """Wait until both children are ready; return their pids."""
    pids = {child: launched.wait_for("child_ready", child=child)["child_pid"] for child in ("server", "ui")}
    launched.wait_for("launcher_ready")
    return pids


def grandchildren(launched: Launched, child: str) -> list[psutil.Process]:
    """Return what a child of kind `parent` has started."""
    return [psutil.Process(pid) for pid in launched.wait_for("grandchildren_started", proc=child)["pids"]]


def processes(launched: Launched) -> list[psutil.Process]:
    """Return the whole tree once it is complete."""
    ready(launched)
    known = grandchildren(launched, "server") + grandchildren(launched, "ui")
    return list({*launched.tree(), *known})


@pytest.mark.parametrize(("victim", "bystander"), [("server", "ui"), ("ui", "server")])
def test_a_killed_childs_grandchildren_are_killed_and_nobody_elses(launch: Launch, victim: str, bystander: str) -> None:
    launched = launch(PARENTS)
    pids = ready(launched)
    doomed, spared = grandchildren(launched, victim), grandchildren(launched, bystander)

    os.kill(pids[victim], signal.SIGKILL)

    launched.wait_for("child_ready", child=victim)
    assert gone_within(doomed, DEADLINE_S) == []
    assert all(process.is_running() for process in spared)
    assert pids[bystander] in {process.pid for process in launched.tree()}


def test_a_child_that_is_stopped_is_stopped_with_its_grandchildren(launch: Launch) -> None:
    launched = launch(PARENTS)
    tree = processes(launched)
    assert len(tree) >= 2 * 6

    launched.process.send_signal(signal.SIGTERM)

    assert launched.wait_for_exit() == 0
    assert gone_within(tree, 0.0) == []
    assert launched.files() == set()


def test_the_launcher_reaps_every_orphan(launch: Launch) -> None:
    launched = launch({"server": "daemon_starting"})
    child = launched.wait_for("child_ready")["child_pid"]
    (daemon,) = grandchildren(launched, "server")
    assert daemon.ppid() == launched.pid

    daemon.kill()

    assert daemon.wait(DEADLINE_S) is None, "it is no more, not even a zombie"
    os.kill(child, signal.SIGKILL)
    launched.wait_for("child_ready")
    (again,) = grandchildren(launched, "server")
    assert again.is_running(), "the successor's are its own"


def killed_with_its_tree(launched: Launched, kill: Callable[[list[psutil.Process]], None]) -> bool:
    """Have `kill`, which is given the tree, kill a launcher; tell whether all below it are gone in time."""
    tree = processes(launched)
    kill(tree)
    return is_gone_in_time(tree)


def test_a_killed_launcher_takes_every_grandchild_with_it(launch: Launch) -> None:
    def takes_them() -> bool:
        launched = launch(PARENTS)
        return killed_with_its_tree(launched, lambda _tree: os.kill(launched.pid, signal.SIGKILL))

    assert in_a_quiet_moment(takes_them)


def test_so_it_does_when_everything_below_it_was_stopped(launch: Launch) -> None:
    def takes_them() -> bool:
        launched = launch(PARENTS)

        def kill(tree: list[psutil.Process]) -> None:
            for process in tree:
                process.suspend()
            os.kill(launched.pid, signal.SIGKILL)

        return killed_with_its_tree(launched, kill)

    assert in_a_quiet_moment(takes_them)


def test_so_it_does_when_its_whole_process_group_is_killed(launch: Launch) -> None:
    def takes_them() -> bool:
        launched = launch(PARENTS)
        return killed_with_its_tree(launched, lambda _tree: launched.signal_group(signal.SIGKILL))

    assert in_a_quiet_moment(takes_them)


def guard_of(tree: list[psutil.Process]) -> psutil.Process:
    (guard,) = [process for process in tree if any(part.endswith("sweep.py") for part in process.cmdline())]
    return guard


def wait_until_it_guards(guard: psutil.Process) -> None:
    """Wait until the guard has come to its work, and so ignores SIGTERM: nothing tells of that, so it is looked at."""

    def ignores_sigterm() -> bool:
        status = Path(f"/proc/{guard.pid}/status").read_text()
        (mask,) = re.findall(r"^SigIgn:\s*(\w+)", status, re.MULTILINE)
        return bool(int(mask, 16) & 1 << signal.SIGTERM - 1)

    eventually(ignores_sigterm, DEADLINE_S)


def test_a_guard_that_was_killed_has_a_successor(launch: Launch) -> None:
    def takes_them() -> bool:
        launched = launch(PARENTS)

        def kill(tree: list[psutil.Process]) -> None:
            guard_of(tree).kill()
            launched.wait_for("guard_restarted")
            wait_until_it_guards(guard_of(launched.tree()))
            os.kill(launched.pid, signal.SIGKILL)

        return killed_with_its_tree(launched, kill)

    assert in_a_quiet_moment(takes_them)


def test_a_guard_that_was_stopped_does_not_hold_up_the_end(launch: Launch) -> None:
    launched = launch(PARENTS)
    tree = processes(launched)
    guard_of(tree).suspend()

    launched.process.send_signal(signal.SIGTERM)

    assert launched.wait_for_exit() == 0
    assert gone_within(tree, 0.0) == []


def test_a_helper_of_multiprocessing_that_was_stopped_does_not_outlive_it(launch: Launch) -> None:
    launched = launch(PARENTS)
    tree = processes(launched)
    (tracker,) = [process for process in tree if any("resource_tracker" in part for part in process.cmdline())]
    tracker.suspend()

    launched.process.send_signal(signal.SIGTERM)

    assert launched.wait_for_exit() == 0
    assert gone_within(tree, 0.0) == []


def test_a_relaunch_right_after_a_kill_waits_for_those_who_hold_everything(launch: Launch) -> None:
    first = launch(PARENTS)
    tree = processes(first)
    for process in tree:
        process.suspend()
    os.kill(first.pid, signal.SIGKILL)

    second = launch(PARENTS)

    ready(second)
    assert gone_within(tree, 0.0) == []
    second.process.send_signal(signal.SIGTERM)
    assert second.wait_for_exit() == 0
    assert second.files() == set()
