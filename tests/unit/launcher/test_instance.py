"""One instance per socket and per state directory."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from launcher import instance
from launcher.errors import InstanceRunningError, LauncherError, SettingsError
from launcher.instance import lock_path, locked

HOLD = """
import fcntl, os, sys
file = open(sys.argv[1], "w")
fcntl.flock(file, fcntl.LOCK_EX)
file.write(sys.argv[2] + "\\n")
file.flush()
print("held", flush=True)
sys.stdin.read()
"""


class Holder:
    """Another process that holds a lock, and names some pid in it."""

    def __init__(self, path: str, pid: int | None = None) -> None:
        command = [sys.executable, "-c", HOLD, path, str(pid or "")]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        self.process.stdout.readline()

    def release(self) -> None:
        self.process.communicate(b"", 60)


def paths(tmp_path: Path) -> tuple[str, str]:
    return str(tmp_path / "a.sock"), str(tmp_path)


def test_both_locks_are_held_and_then_gone(tmp_path: Path) -> None:
    with locked(*paths(tmp_path)) as locks:
        assert {path.name for path in tmp_path.iterdir()} == {"a.sock.lock", "launcher.lock"}
        assert len(locks.descriptors) == 2
        assert not locks.was_abandoned

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "option"), [("a.sock.lock", "--socket"), ("launcher.lock", "--state-dir")])
def test_a_live_holder_is_named_at_once(tmp_path: Path, name: str, option: str) -> None:
    holder = Holder(str(tmp_path / name), os.getpid())

    with pytest.raises(InstanceRunningError, match=f"pid {os.getpid()} .*{option}"), locked(*paths(tmp_path)):
        pass

    holder.release()


def test_the_children_of_a_dead_launcher_are_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    socket_path, state_dir = paths(tmp_path)
    holder = Holder(lock_path(socket_path), pid=2**22 + 1)  # no process can have it
    is_waiting = threading.Event()
    wait_until_free = instance._wait_until_free

    def wait(path: str, timeout_s: float) -> threading.Thread:
        is_waiting.set()
        return wait_until_free(path, timeout_s)

    monkeypatch.setattr(instance, "_wait_until_free", wait)
    monkeypatch.setattr(instance, "_WAIT_FOR_DYING_S", 60.0)
    monkeypatch.setattr(instance, "_DYING_TAKES_S", 60.0)

    def release() -> None:
        assert is_waiting.wait(60)
        holder.release()

    releaser = threading.Thread(target=release)
    releaser.start()

    with locked(socket_path, state_dir) as locks:
        assert locks.was_abandoned
    releaser.join()


def test_the_wait_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instance, "_WAIT_FOR_DYING_S", 0.05)
    monkeypatch.setattr(instance, "_DYING_TAKES_S", 0.02)
    socket_path, state_dir = paths(tmp_path)
    holder = Holder(lock_path(socket_path))

    with pytest.raises(InstanceRunningError, match="another process"), locked(socket_path, state_dir):
        pass

    holder.release()
    for thread in threading.enumerate():
        if thread.name == "lock-waiter":
            thread.join(10)


def test_a_lock_that_cannot_be_made_names_the_option(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="--socket"), locked("/proc/a.sock", str(tmp_path)):
        pass


def test_a_full_disk_is_not_the_fault_of_an_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(*_arguments: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("ipc.endpoint.os.pwrite", write)
    with pytest.raises(LauncherError, match=r"No space left.*make room") as caught, locked(*paths(tmp_path)):
        pass
    assert caught.value.exit_code == 1  # a service manager tries again
