"""One child process, without a launcher around it."""

from __future__ import annotations

import json
import os
import resource
from collections.abc import Callable, Iterator
from multiprocessing.connection import wait

import pytest

from ipc.child import ChildSettings
from launcher.descendants import Descendants
from launcher.pipe_words import Ready, Spawned, Stop
from launcher.process import ChildProcess, ExitStatus, Handed
from tests.conftest import Holdings
from tests.kill.conftest import DEADLINE_S

SETTINGS = ChildSettings(name="x", run_id="r", socket="s", control_socket="c", url="u", state_dir="d")


def make(function: str) -> ChildProcess:
    return ChildProcess("x", Handed(entry=f"tests.kill.children:{function}", log_level="info"), Descendants())


def end(process: ChildProcess) -> None:
    process.send_signal("SIGKILL")
    wait_until_dead(process)
    process.close()


@pytest.fixture
def spawn() -> Iterator[Callable[[str], ChildProcess]]:
    """Spawn children of one function each; whatever the test does, they end: pytest would wait for them at its exit."""
    processes: list[ChildProcess] = []

    def start(function: str) -> ChildProcess:
        processes.append(make(function))
        return processes[-1]

    yield start
    for process in processes:
        end(process)


def wait_until_dead(process: ChildProcess) -> ExitStatus:
    assert wait([process.death], DEADLINE_S)
    return process.reap()


def notices_until(process: ChildProcess, last: type) -> list[type]:
    found: list[type] = []
    while last not in found:
        assert wait([process.notices], DEADLINE_S)
        found += map(type, process.read_notices())
    return found


def test_it_imports_first_and_runs_when_told_to_go(spawn: Callable[[str], ChildProcess]) -> None:
    process = spawn("steady")
    assert notices_until(process, Spawned) == [Spawned]

    process.go(SETTINGS)

    assert notices_until(process, Ready) == [Ready]
    process.send_signal("SIGTERM")
    assert wait_until_dead(process) == ExitStatus(exit_code=0)


def test_it_collects_garbage_once_it_is_imported_and_has_not_imported_what_it_never_uses(
    spawn: Callable[[str], ChildProcess],
) -> None:
    process = spawn("introspective")
    process.go(SETTINGS)
    notices_until(process, Ready)
    (line,) = (line for line in process.read_log() if b"looked_inside" in line)
    seen = json.loads(line)
    assert (seen["collects_garbage"], seen["frozen"], seen["rich"]) == (True, True, False)


def test_a_pipe_that_ended_keeps_its_number_to_the_close(
    spawn: Callable[[str], ChildProcess],
) -> None:
    process = spawn("silent")
    process.go(SETTINGS)
    while process.is_open(process.log):
        assert wait([process.log], DEADLINE_S)
        process.read_log()

    others = os.pipe()

    assert process.log not in others
    for descriptor in others:
        os.close(descriptor)
    process.send_signal("SIGKILL")
    assert wait_until_dead(process) == ExitStatus(signal="SIGKILL")


def test_commands_and_signals_to_a_dead_process_are_lost_without_an_error(spawn: Callable[[str], ChildProcess]) -> None:
    process = spawn("quitting")
    process.go(SETTINGS)
    assert wait_until_dead(process) == ExitStatus(exit_code=0)

    process.command(Stop())
    process.send_signal("SIGKILL")

    assert process.last_words() == []


def test_without_a_descriptor_to_look_with_a_process_is_taken_for_one_that_can_go(
    spawn: Callable[[str], ChildProcess],
) -> None:
    process = spawn("steady")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))
    try:
        assert (process.is_dead(), process.is_suspended()) == (False, False)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_process_that_was_closed_leaves_no_descriptor() -> None:
    end(make("steady"))  # the first one starts what multiprocessing keeps
    before = Holdings()

    end(make("steady"))

    assert before.leaks() == []
