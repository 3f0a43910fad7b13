"""Telling a running launcher from what a killed one has left behind."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ipc.endpoint import InstanceLock
from launcher.errors import LauncherError, NoInstanceError
from launcher.instance import lock_path
from launcher.presence import find_launcher, read_lock, user_name


def test_a_held_lock_names_its_holder(tmp_path: Path) -> None:
    socket_path = str(tmp_path / "a.sock")
    lock = InstanceLock(lock_path(socket_path))
    lock.acquire()
    try:
        assert find_launcher(socket_path) == os.getpid()
        found = read_lock(lock.path)
        assert (found.exists, found.pid, found.is_held, found.owner_uid) == (True, os.getpid(), True, os.geteuid())
    finally:
        lock.release()
    assert not read_lock(lock.path).exists


@pytest.mark.parametrize("text", ["", "nonsense", f"{2**22 + 1}\n", f"{os.getppid()}\n"])
def test_a_lock_that_nobody_holds_is_no_instance_even_if_its_pid_lives(text: str, tmp_path: Path) -> None:
    """A killed launcher leaves its file behind, and its number may be another process's by now."""
    socket_path = str(tmp_path / "a.sock")
    Path(lock_path(socket_path)).write_text(text)

    with pytest.raises(NoInstanceError, match=r"no launcher runs on .*a\.sock"):
        find_launcher(socket_path)
    found = read_lock(lock_path(socket_path))
    assert (found.exists, found.pid, found.is_held) == (True, None, False)


@pytest.mark.parametrize("path", ["/dev/null/a.sock", "/tmp/" + 300 * "a"])
def test_where_no_socket_can_be_there_is_no_instance(path: str) -> None:
    with pytest.raises(NoInstanceError):
        find_launcher(path)


def test_looking_at_a_lock_does_not_take_it(tmp_path: Path) -> None:
    path = str(tmp_path / "a.lock")
    Path(path).touch()
    read_lock(path)

    lock = InstanceLock(path)
    lock.acquire()
    lock.release()


def test_an_instance_of_somebody_else_is_refused_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    socket_path = str(tmp_path / "a.sock")
    Path(lock_path(socket_path)).touch()
    monkeypatch.setattr(os, "geteuid", lambda: 4_000_000_000)

    with pytest.raises(LauncherError, match=r"refused: .* you are uid 4000000000; run this as ") as raised:
        find_launcher(socket_path)
    assert raised.value.exit_code == 1


def test_a_user_without_a_name_has_a_number() -> None:
    assert user_name(4_000_000_000) == "uid 4000000000"
