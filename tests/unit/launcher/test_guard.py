"""The guard process, from the launcher's side."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
from collections.abc import Callable, Iterator
from multiprocessing.connection import wait
from pathlib import Path

import psutil
import pytest
from structlog.testing import capture_logs

from launcher import guard as guard_module
from launcher.guard import Guard
from launcher.handover import InheritedFd

MARKS = range(1 << 60, (1 << 60) + 1)


@pytest.fixture
def descriptors() -> dict[int, Callable[[], None]]:
    return {}


@pytest.fixture
def guard(descriptors: dict[int, Callable[[], None]]) -> Iterator[Guard]:
    guard = Guard(MARKS, ())
    guard.watch(descriptors)
    guard.start()
    yield guard
    guard.stop(10.0)
    assert descriptors == {}


def pid_of(guard: Guard) -> int:
    assert guard._process is not None
    return guard._process.pid


def kill(guard: Guard, descriptors: dict[int, Callable[[], None]]) -> None:
    """Kill the guard and do what the loop does then."""
    os.kill(pid_of(guard), signal.SIGKILL)
    (death,) = descriptors
    assert wait([death], 10.0)
    descriptors[death]()


def test_it_is_in_a_session_of_its_own_and_holds_no_directory(guard: Guard) -> None:
    assert os.getsid(pid_of(guard)) == pid_of(guard)
    assert psutil.Process(pid_of(guard)).cwd() == "/"


def held_by(pid: int) -> set[str]:
    """Return what the descriptors of a process are; it may be closing some just now."""
    held = set()
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            held.add(str(path.readlink()))
    return held


def test_it_shares_the_locks_and_nothing_else(tmp_path: Path, descriptors: dict[int, Callable[[], None]]) -> None:
    other = os.open(tmp_path / "other", os.O_CREAT | os.O_RDWR)
    lock = os.open(tmp_path / "lock", os.O_CREAT | os.O_RDWR)
    fcntl.flock(lock, fcntl.LOCK_EX)
    guard = Guard(MARKS, (InheritedFd(lock),))
    guard.watch(descriptors)
    guard.start()

    held = held_by(pid_of(guard))

    assert str(tmp_path / "lock") in held
    assert str(tmp_path / "other") not in held
    guard.stop(10.0)
    os.close(lock)
    os.close(other)


def test_another_takes_the_place_of_one_that_was_killed(
    guard: Guard, descriptors: dict[int, Callable[[], None]]
) -> None:
    first = pid_of(guard)
    with capture_logs() as logs:
        kill(guard, descriptors)

    assert pid_of(guard) != first
    assert [line["event"] for line in logs] == ["guard_restarted"]


def test_a_guard_that_always_dies_at_once_is_given_up(
    guard: Guard, descriptors: dict[int, Callable[[], None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard_module, "_STABLE_S", 1000.0)
    with capture_logs() as logs:
        while descriptors:
            kill(guard, descriptors)

    assert [line["event"] for line in logs] == ["guard_restarted"] * 4 + ["guard_lost"]


def test_a_call_for_a_guard_that_lives_does_nothing(guard: Guard, descriptors: dict[int, Callable[[], None]]) -> None:
    pid = pid_of(guard)
    (on_death,) = descriptors.values()
    on_death()
    assert pid_of(guard) == pid


def test_stopping_a_guard_that_was_stopped_kills_it() -> None:
    guard = Guard(MARKS, ())
    guard.start()
    process = psutil.Process(pid_of(guard))
    process.suspend()

    guard.stop(0.05)

    assert not process.is_running()


def test_a_guard_that_cannot_be_started_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard_module.sys, "executable", "/nowhere/python")
    guard = Guard(MARKS, ())
    with capture_logs() as logs:
        guard.start()
    guard.stop(1.0)
    assert [line["event"] for line in logs] == ["guard_lost"]
