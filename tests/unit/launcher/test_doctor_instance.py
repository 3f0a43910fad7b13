"""What doctor looks at of an instance; nothing here runs one."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ipc.authkey import key_path
from ipc.endpoint import InstanceLock
from launcher import doctor_instance
from launcher.findings import Finding, Result
from launcher.instance import lock_path
from launcher.settings import Settings

OK, WARNING, PROBLEM = Result.OK, Result.WARNING, Result.PROBLEM


@pytest.fixture
def settings(socket_path: str, tmp_path: Path) -> Settings:
    return Settings(socket=socket_path, state_dir=str(tmp_path / "state"))


@pytest.fixture
def held(settings: Settings) -> Iterator[InstanceLock]:
    lock = InstanceLock(lock_path(settings.socket))
    lock.acquire()
    yield lock
    lock.release()


def only(findings: Any) -> Finding:
    (finding,) = findings
    assert isinstance(finding, Finding)
    assert finding.result is OK or finding.remedy
    return finding


def test_a_free_a_held_and_a_stale_lock(settings: Settings) -> None:
    path = lock_path(settings.socket)
    assert only(doctor_instance.lock_findings(settings.socket)).detail == "free"
    lock = InstanceLock(path)
    lock.acquire()
    assert only(doctor_instance.lock_findings(settings.socket)).detail == f"held by pid {os.getpid()}"
    Path(path).write_text(f"{2**22 + 1}\n")
    left = only(doctor_instance.lock_findings(settings.socket))
    assert (left.result, "left behind" in left.detail) == (WARNING, True)
    lock.release()
    Path(path).write_text(f"{2**22 + 1}\n")
    stale = only(doctor_instance.lock_findings(settings.socket))
    assert (stale.result, "stale" in stale.detail) == (WARNING, True)
    os.unlink(path)


def test_a_lock_of_somebody_else_names_the_user(
    held: InstanceLock, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)

    finding = only(doctor_instance.lock_findings(settings.socket))

    assert finding.result is PROBLEM
    assert held.path in finding.detail


def test_free_stale_foreign_and_false_sockets(settings: Settings) -> None:
    path = settings.socket
    assert [each.result for each in doctor_instance.socket_findings(settings, None)] == [OK, OK]
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        assert [each.result for each in doctor_instance.socket_findings(settings, None)] == [PROBLEM, OK]
        assert [each.result for each in doctor_instance.socket_findings(settings, 7)] == [OK, PROBLEM]
    os.unlink(path)
    data, control = doctor_instance.socket_findings(settings, 7)
    assert data.remedy == "run.py restart server, or kill -HUP 7"
    assert control.remedy == "kill 7, which is an orderly stop, and start again"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
    assert [each.result for each in doctor_instance.socket_findings(settings, None)] == [WARNING, OK]
    os.unlink(path)
    Path(path).touch()
    assert [each.result for each in doctor_instance.socket_findings(settings, None)] == [PROBLEM, OK]
    assert Path(path).exists()
    os.unlink(path)


def test_the_key_file_is_judged_and_never_shown(settings: Settings) -> None:
    path, key = Path(key_path(settings.socket)), secrets.token_hex(32)
    assert only(doctor_instance.key_findings(settings.socket, None)).result is OK
    assert only(doctor_instance.key_findings(settings.socket, 7)).result is PROBLEM
    path.write_text(key)
    path.chmod(0o600)
    good = only(doctor_instance.key_findings(settings.socket, 7))
    assert (good.result, good.detail) == (OK, f"{path}, mode 0600")
    path.chmod(0o644)
    bad = only(doctor_instance.key_findings(settings.socket, 7))
    assert (bad.result, "chmod 600" in bad.detail) == (PROBLEM, True)
    assert key not in f"{good}{bad}"
    path.unlink()


def test_a_port_is_free_ours_or_somebodys(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        asked = Settings(socket=settings.socket, port=port)
        taken = only(doctor_instance.port_findings(asked, None))
        assert (taken.result, f"pid {os.getpid()}" in taken.detail) == (PROBLEM, True)
        assert only(doctor_instance.port_findings(asked, os.getpid())).result is OK
    assert only(doctor_instance.port_findings(asked, None)).result is OK
    assert only(doctor_instance.port_findings(Settings(port=0), None)).result is OK


def test_a_listener_on_all_addresses_holds_the_port_too() -> None:
    with socket.create_server(("", 0)) as server:
        asked = Settings(port=server.getsockname()[1])
        assert only(doctor_instance.port_findings(asked, None)).result is PROBLEM


def test_a_privileged_port_needs_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(Path, "read_text", lambda _self: "1024\n")

    finding = only(doctor_instance.port_findings(Settings(port=81), None))

    assert (finding.result, finding.remedy) == (PROBLEM, "choose a --port from 1024 up")


def test_a_state_directory_to_be(settings: Settings) -> None:
    made, room = doctor_instance.state_findings(settings, None)

    assert (made.result, "is made at the start" in made.detail) == (OK, True)
    assert room.topic == "disk"
    assert not Path(settings.state_dir).exists()


def test_a_state_directory_that_others_can_read_or_another_instance_uses(settings: Settings) -> None:
    path = Path(settings.state_dir)
    path.mkdir()
    path.chmod(0o755)
    lock = InstanceLock(str(path / "launcher.lock"))
    lock.acquire()

    readable, used, _room = doctor_instance.state_findings(settings, None)

    assert (readable.result, readable.remedy) == (WARNING, f"chmod 700 {path}")
    assert (used.result, f"pid {os.getpid()}" in used.detail) == (PROBLEM, True)
    assert len(list(doctor_instance.state_findings(settings, os.getpid()))) == 2
    lock.release()


def test_a_state_directory_that_cannot_be(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    below = Settings(socket=settings.socket, state_dir=str(tmp_path / "file" / "state"))
    assert only(doctor_instance.state_findings(below, None)).result is PROBLEM
    monkeypatch.setattr(os, "access", lambda _path, _mode: False)
    assert "not writable" in only(doctor_instance.state_findings(settings, None)).detail


@pytest.mark.parametrize(("free_bytes", "result"), [(1 << 20, PROBLEM), (100 << 20, WARNING), (1 << 40, OK)])
def test_a_full_disk(free_bytes: int, result: Result, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage:
        free = free_bytes

    monkeypatch.setattr(doctor_instance.shutil, "disk_usage", lambda _path: Usage)

    _made, room = doctor_instance.state_findings(settings, None)

    assert room.result is result


def test_the_health_of_the_children() -> None:
    child = {"name": "server", "state": "RUNNING", "pid": 5, "restarts": 1, "reason": ""}
    children = [child, child | {"state": "BACKOFF"}, child | {"state": "FATAL", "reason": "no Qt"}]
    status = {"pid": 4, "is_stopping": False, "url": "http://127.0.0.1:1", "children": children}

    found = list(doctor_instance.instance_findings("s", status, ""))

    assert [each.result for each in found] == [OK, OK, WARNING, PROBLEM, PROBLEM]
    assert found[3].detail == "given up: no Qt"
    assert found[3].remedy.endswith("run.py restart server")
    assert found[4].topic == "http"


def test_no_instance_is_fine_and_one_that_does_not_answer_is_not() -> None:
    assert only(doctor_instance.instance_findings("s", None, "")).result is OK
    assert only(doctor_instance.instance_findings("s", None, "pid 5 does not answer")).result is PROBLEM
