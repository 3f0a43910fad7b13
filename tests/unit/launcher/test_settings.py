"""What the options mean, and what is said about those that cannot be."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest

from launcher.errors import SettingsError
from launcher.settings import Settings, allowed_hosts_of, checked, control_path, make_state_dir, why_offscreen

HOME = {"HOME": "/home/ada"}


def settings(tmp_path: Path, **changes: Any) -> Settings:
    return Settings(**{"socket": str(tmp_path / "a.sock"), "state_dir": str(tmp_path / "state"), **changes})


def test_the_control_socket_is_beside_the_data_socket() -> None:
    assert control_path("/tmp/axon-attendance.sock") == "/tmp/axon-attendance-control.sock"
    assert Settings().control_socket == "/tmp/axon-attendance-control.sock"


def test_the_state_directory_follows_xdg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    plain = settings(tmp_path, state_dir="")

    assert checked(plain, {}).state_dir == str(tmp_path / ".local/state/axon-attendance")
    assert checked(plain, {"XDG_STATE_HOME": "/var/x"}).state_dir == "/var/x/axon-attendance"
    assert checked(plain, {"XDG_STATE_HOME": "relative"}).state_dir == str(tmp_path / ".local/state/axon-attendance")


def test_paths_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    found = checked(Settings(socket="b.sock", state_dir="state"), {})

    assert (found.socket, found.state_dir) == (str(tmp_path / "b.sock"), str(tmp_path / "state"))


def test_a_path_of_107_bytes_leaves_room_for_the_control_socket() -> None:
    longest = "/tmp/" + "x" * 97 + ".sock"

    found = checked(Settings(socket=longest, state_dir="/tmp/state"), {})

    assert len(longest) == 107
    assert found.socket == longest
    assert len(found.control_socket) <= 107
    assert Path(found.control_socket).parent == Path("/tmp")


@pytest.mark.parametrize("hang_after", [0, 3.0, 5, 86_400.0])
def test_a_limit_for_hanging_may_be_none(tmp_path: Path, hang_after: float) -> None:
    assert checked(settings(tmp_path, hang_after=hang_after), {}).hang_after == hang_after


@pytest.mark.parametrize("hang_after", [-1.0, 0.5, 2.99, 86_401.0, float("nan"), float("inf")])
def test_a_limit_for_hanging_that_makes_no_sense_is_named(tmp_path: Path, hang_after: float) -> None:
    with pytest.raises(SettingsError, match=r"--hang-after .*: choose 3 to 86400 seconds, or 0"):
        checked(settings(tmp_path, hang_after=hang_after), {})


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost", "0.0.0.0", "::", "192.168.1.5"])
def test_an_address_is_accepted_for_the_server_to_judge(tmp_path: Path, host: str) -> None:
    assert checked(settings(tmp_path, host=host), {}).host == host


def test_allowed_hosts_are_names_with_commas() -> None:
    assert allowed_hosts_of(Settings(allowed_hosts=" Axon.example, kiosk.lan:8443 ,")) == (
        "axon.example",
        "kiosk.lan:8443",
    )
    assert allowed_hosts_of(Settings()) == ()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"host": "example.org"}, "--host 'example.org': .* --allowed-hosts"),
        ({"host": ""}, "--host ''"),
        ({"host": "127.1"}, "--host '127.1'"),
        ({"host": "10.0.0.0/8"}, "--host '10.0.0.0/8'"),
        ({"allowed_hosts": "http://axon.example"}, "--allowed-hosts: 'http://axon.example'"),
        ({"allowed_hosts": "axon.example, *"}, r"--allowed-hosts: '\*'"),
        ({"allowed_hosts": "axon.example:0"}, "--allowed-hosts: 'axon.example:0'"),
        ({"port": -1}, "--port -1"),
        ({"port": 65536}, "--port 65536"),
        ({"cooldown_s": -1}, "--cooldown-s -1"),
        ({"cooldown_s": 86401}, "choose 0 to 86400"),
        ({"socket": ""}, "--socket: "),
        ({"socket": "/tmp/" + "x" * 120}, "--socket: .*107"),
        ({"socket": "/"}, "--socket /: give the path of a file"),
        ({"socket": "/tmp/a\udcff.sock"}, "--socket .*printable"),
        ({"socket": "/tmp/" + "d" * 98 + "/a"}, "--socket: choose a shorter path"),
        ({"socket": "/nonexistent/a.sock"}, "--socket /nonexistent/a.sock: /nonexistent is not a directory"),
        ({"socket": "/dev/null/a.sock"}, "--socket /dev/null/a.sock: /dev/null is not a directory"),
    ],
)
def test_what_cannot_be_is_named_in_one_line(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError, match=words) as raised:
        checked(settings(tmp_path, **changes), {})

    assert "\n" not in str(raised.value)


def test_the_state_directory_is_made_for_us_alone(tmp_path: Path) -> None:
    make_state_dir(str(tmp_path / "deep" / "state"))
    make_state_dir(str(tmp_path / "deep" / "state"))

    assert stat.S_IMODE((tmp_path / "deep/state").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "deep/state/logs").stat().st_mode) == 0o700


def test_a_state_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(SettingsError, match=r"--state-dir .*cannot create"):
        make_state_dir(str(tmp_path / "file" / "state"))


@pytest.mark.parametrize(
    ("ui", "environment", "reason"),
    [
        ("auto", {"DISPLAY": ":0"}, None),
        ("auto", {"WAYLAND_DISPLAY": "wayland-0"}, None),
        ("auto", {"QT_QPA_PLATFORM": "eglfs"}, None),
        ("auto", {}, "no DISPLAY or WAYLAND_DISPLAY"),
        ("auto", {"DISPLAY": ":0", "QT_QPA_PLATFORM": "offscreen"}, "QT_QPA_PLATFORM=offscreen"),
        ("auto", {"QT_QPA_PLATFORM": "minimal:x"}, "QT_QPA_PLATFORM=minimal:x"),
        ("offscreen", {"DISPLAY": ":0"}, "--ui offscreen"),
    ],
)
def test_when_the_ui_gets_no_window(ui: str, environment: dict[str, str], reason: str | None) -> None:
    assert why_offscreen(ui, environment) == reason
