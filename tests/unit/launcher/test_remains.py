"""Ending what a dead launcher has left: those who share its locks, and nobody else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from launcher import instance
from launcher.errors import InstanceRunningError
from launcher.instance import lock_path, locked
from launcher.remains import end_holders

DEAD_PID = 2**22 + 1
HOLD = """
import fcntl, sys
files = [open(path, "a") for path in sys.argv[2:]]
for file in files:
    fcntl.flock(file, fcntl.LOCK_EX)
    file.write(sys.argv[1] + "\\n")
    file.flush()
print("held", flush=True)
sys.stdin.read()
"""
Hold = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def hold() -> Iterator[Hold]:
    """Start processes that hold locks, in the name of a dead launcher."""
    holders: list[subprocess.Popen[bytes]] = []

    def hold(*paths: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", HOLD, str(DEAD_PID), *paths]
        holders.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        stdout = holders[-1].stdout
        assert stdout is not None
        stdout.readline()
        return holders[-1]

    yield hold
    for holder in holders:
        holder.kill()
        holder.communicate()


def paths(tmp_path: Path) -> tuple[str, str]:
    return lock_path(str(tmp_path / "a.sock")), str(tmp_path / "launcher.lock")


def test_whoever_shares_a_launchers_locks_is_killed(tmp_path: Path, hold: Hold) -> None:
    holder = hold(*paths(tmp_path))
    os.kill(holder.pid, signal.SIGSTOP)

    assert end_holders(paths(tmp_path)[0]) == [holder.pid]

    assert holder.wait(10) == -signal.SIGKILL


def test_a_program_of_its_own_that_locks_the_socket_is_not(tmp_path: Path, hold: Hold) -> None:
    holder = hold(paths(tmp_path)[0])

    assert end_holders(paths(tmp_path)[0]) == []
    assert holder.poll() is None


def test_neither_is_another_launcher_or_one_who_only_reads(tmp_path: Path, hold: Hold) -> None:
    socket_lock, state_lock = paths(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    other_launcher = hold(*paths(other))
    Path(socket_lock).touch()
    Path(state_lock).touch()
    with open(socket_lock) as reader, open(state_lock):
        bystander = subprocess.Popen(["/bin/sleep", "60"], pass_fds=[reader.fileno()])
        assert end_holders(socket_lock) == []
    assert other_launcher.poll() is bystander.poll() is None
    bystander.kill()
    bystander.wait()


def test_a_launcher_that_was_quicker_is_left_alone(tmp_path: Path, hold: Hold, monkeypatch: pytest.MonkeyPatch) -> None:
    """The holder is dead when we come, and another launcher has the lock when we have waited."""
    socket_lock, _state_lock = paths(tmp_path)
    holder = hold(*paths(tmp_path))

    wait_until_free = instance._wait_until_free

    def wait(path: str, _timeout_s: float) -> threading.Thread:
        Path(socket_lock).write_text(f"{holder.pid}\n")
        return wait_until_free(path, 0.01)

    monkeypatch.setattr(instance, "_wait_until_free", wait)

    with (
        pytest.raises(InstanceRunningError, match=f"pid {holder.pid}"),
        locked(str(tmp_path / "a.sock"), str(tmp_path)),
    ):
        pass
    assert holder.poll() is None


def test_the_next_launcher_does_not_wait_for_what_was_stopped(
    tmp_path: Path, hold: Hold, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(instance, "_DYING_TAKES_S", 0.05)
    monkeypatch.setattr(instance, "_WAIT_FOR_DYING_S", 60.0)
    holder = hold(*paths(tmp_path))
    os.kill(holder.pid, signal.SIGSTOP)

    with locked(str(tmp_path / "a.sock"), str(tmp_path)) as locks:
        assert locks.was_abandoned
    assert holder.wait(10) == -signal.SIGKILL
