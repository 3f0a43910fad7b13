"""Watching pulses: who is watched, and what the kernel is asked."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
from collections.abc import Iterator
from typing import cast

import pytest

from launcher.hang_watch import HangWatch, _load
from launcher.process import ChildProcess
from launcher.pulse import Pulse


class Beating:
    """As much of a ChildProcess as is watched."""

    def __init__(self, pid: int) -> None:
        self.name, self.pid = "server", pid
        self.pulse = Pulse()


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["/bin/sleep", "60"])
    yield process
    process.kill()
    process.wait()


@pytest.fixture
def child(sleeper: subprocess.Popen[bytes]) -> Iterator[ChildProcess]:
    beating = Beating(sleeper.pid)
    yield cast(ChildProcess, beating)
    beating.pulse.close()


def look_until(watch: HangWatch, until_s: float) -> list[tuple[ChildProcess, str]]:
    """Look whenever the watch wants it, and return what it finds first."""
    while watch.deadline_s is not None and watch.deadline_s <= until_s:
        if found := watch.hung(watch.deadline_s):
            return found
    return []


def test_a_silent_child_is_found_once_its_limit_is_up(child: ChildProcess) -> None:
    watch = HangWatch(5.0)
    child.pulse.beat(100.0)
    watch.begin(child, 100.2)

    assert look_until(watch, 105.1) == []
    assert look_until(watch, 105.2) == [(child, "no heartbeat for 5 s")]
    assert watch.deadline_s is None, "once"


def test_a_silent_child_is_found_though_there_is_no_descriptor_to_look_with(child: ChildProcess) -> None:
    watch = HangWatch(5.0)
    child.pulse.beat(100.0)
    watch.begin(child, 100.0)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, before[1]))
    try:
        found = look_until(watch, 105.0)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)

    assert found == [(child, "no heartbeat for 5 s")]


def test_a_child_that_is_stopped_is_said_to_be(child: ChildProcess) -> None:
    watch = HangWatch(2.5)
    child.pulse.beat(100.0)
    watch.begin(child, 100.0)
    os.kill(child.pid, signal.SIGSTOP)
    os.waitid(os.P_PID, child.pid, os.WSTOPPED)

    assert look_until(watch, 103.0) == [(child, "no heartbeat for 2.5 s: the process is stopped")]


def test_a_child_that_never_beat_is_not_watched_before_it_does(child: ChildProcess) -> None:
    watch = HangWatch(5.0)
    watch.begin(child, 100.0)
    assert look_until(watch, 200.0) == []

    child.pulse.beat(200.0)

    assert look_until(watch, 210.0) == [(child, "no heartbeat for 5 s")]


def test_a_child_that_is_not_ready_hangs_only_if_it_is_stopped(child: ChildProcess) -> None:
    watch = HangWatch(5.0)
    child.pulse.beat(100.0)
    watch.begin(child, 100.0, is_ready=False)
    assert look_until(watch, 150.0) == []

    os.kill(child.pid, signal.SIGSTOP)
    os.waitid(os.P_PID, child.pid, os.WSTOPPED)

    assert look_until(watch, 160.0) == [(child, "no heartbeat for 5 s: the process is stopped")]


def test_a_dead_child_is_not_watched_any_more(child: ChildProcess) -> None:
    watch = HangWatch(5.0)
    child.pulse.beat(100.0)
    watch.begin(child, 100.0)

    watch.end(child)
    watch.end(child)

    assert watch.deadline_s is None


def test_a_successor_is_watched_instead(child: ChildProcess, sleeper: subprocess.Popen[bytes]) -> None:
    watch = HangWatch(5.0)
    child.pulse.beat(100.0)
    watch.begin(child, 100.0)
    successor = cast(ChildProcess, Beating(sleeper.pid))
    successor.pulse.beat(103.0)

    watch.begin(successor, 103.0)
    watch.end(child)
    child.pulse.close()

    assert look_until(watch, 110.0) == [(successor, "no heartbeat for 5 s")]
    successor.pulse.close()


def test_without_a_limit_nobody_is_watched(child: ChildProcess) -> None:
    watch = HangWatch(0)
    watch.begin(child, 100.0)

    assert watch.deadline_s is None


def test_the_load_is_that_of_all_threads_and_grows() -> None:
    before = after = _load(os.getpid())
    while after.run_s == before.run_s:  # the kernel adds up from time to time
        after = _load(os.getpid())

    assert after.run_s > before.run_s > 0
    assert after.waited_s >= before.waited_s


def test_a_process_that_is_gone_has_none() -> None:
    assert _load(2**22 + 1).run_s == 0.0
