"""One child process, without a launcher around it."""

from __future__ import annotations

import os
from multiprocessing.connection import wait

from ipc.child import ChildSettings
from launcher.pipe_words import Go, Ready, Spawned
from launcher.process import ChildProcess, ExitStatus, Handed
from tests.kill.conftest import DEADLINE_S

SETTINGS = ChildSettings(name="x", run_id="r", socket="s", control_socket="c", url="u", state_dir="d")


def spawn(function: str) -> ChildProcess:
    return ChildProcess("x", Handed(entry=f"tests.kill.children:{function}", log_level="info"))


def wait_until_dead(process: ChildProcess) -> ExitStatus:
    assert wait([process.death], DEADLINE_S)
    return process.reap()


def notices_until(process: ChildProcess, last: type) -> list[type]:
    found: list[type] = []
    while last not in found:
        assert wait([process.notices], DEADLINE_S)
        found += map(type, process.read_notices())
    return found


def test_it_imports_first_and_runs_when_told_to_go() -> None:
    process = spawn("steady")
    assert notices_until(process, Spawned) == [Spawned]
    assert not process.was_told_to_go

    process.go(Go(SETTINGS))

    assert notices_until(process, Ready) == [Ready]
    process.send_signal("SIGTERM")
    assert wait_until_dead(process) == ExitStatus(exit_code=0)
    process.close()


def test_the_number_of_a_pipe_that_ended_is_not_given_to_another_before_the_process_is_closed() -> None:
    process = spawn("silent")
    process.go(Go(SETTINGS))
    while process.is_open(process.log):
        assert wait([process.log], DEADLINE_S)
        process.read_log()

    others = os.pipe()

    assert process.log not in others
    for descriptor in others:
        os.close(descriptor)
    process.send_signal("SIGKILL")
    assert wait_until_dead(process) == ExitStatus(signal="SIGKILL")
    process.close()


def test_commands_and_signals_to_a_dead_process_are_lost_without_an_error() -> None:
    process = spawn("quitting")
    process.go(Go(SETTINGS))
    assert wait_until_dead(process) == ExitStatus(exit_code=0)

    process.command(Go(SETTINGS))
    process.send_signal("SIGKILL")

    assert process.last_words() == []
    process.close()


def test_a_process_that_was_closed_leaves_no_descriptor() -> None:
    spawn_and_close()  # the first one starts what multiprocessing keeps
    before = len(os.listdir("/proc/self/fd"))
    spawn_and_close()

    assert len(os.listdir("/proc/self/fd")) == before


def spawn_and_close() -> None:
    process = spawn("steady")
    process.send_signal("SIGKILL")
    wait_until_dead(process)
    process.close()
