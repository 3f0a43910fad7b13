"""What a launcher refuses: one line, the right exit code, nobody disturbed."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

import pytest

from tests.kill.conftest import Launch, Launched

BOTH = {"server": "steady", "ui": "steady"}


def refusal(launched: Launched, exit_code: int) -> str:
    """Check that the launcher said one line and left with this code; return the line."""
    assert launched.wait_for_exit() == exit_code
    (line,) = launched.stderr_after_exit().splitlines()
    assert line.startswith("axon: ")
    return line


def test_a_second_instance_on_the_same_socket_names_the_first_and_leaves_it_alone(launch: Launch) -> None:
    first = launch(BOTH)
    first.wait_for("launcher_ready")
    files = first.files()

    line = refusal(launch(BOTH), 75)

    assert f"pid {first.pid}" in line
    assert first.files() == files
    first.process.send_signal(signal.SIGTERM)
    assert first.wait_for_exit() == 0
    assert len(first.remaining("child_exited")) == 2


def test_a_second_instance_on_the_same_state_directory_is_refused(launch: Launch, directory: Path) -> None:
    first = launch(BOTH)
    first.wait_for("launcher_ready")
    elsewhere = directory / "elsewhere"
    elsewhere.mkdir()

    second = launch(BOTH, "--state-dir", str(directory / "state"), at=elsewhere)

    line = refusal(second, 75)
    assert f"pid {first.pid}" in line
    assert "--state-dir" in line
    assert second.files() == set()


def test_a_socket_path_that_is_too_long(launch: Launch, directory: Path) -> None:
    line = refusal(launch(BOTH, "--socket", str(directory / ("x" * 100))), 2)

    assert "--socket" in line
    assert "107" in line


def test_a_socket_below_a_file(launch: Launch, directory: Path) -> None:
    (directory / "file").touch()

    assert "--socket" in refusal(launch(BOTH, "--socket", str(directory / "file" / "a.sock")), 2)


def test_a_state_directory_below_a_file(launch: Launch, directory: Path) -> None:
    (directory / "file").touch()

    assert "--state-dir" in refusal(launch(BOTH, "--state-dir", str(directory / "file" / "state")), 2)


def test_a_busy_port(launch: Launch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]

        launched = launch(BOTH, "--port", str(port))

        assert f"--port {port}" in refusal(launched, 2)
        assert launched.files() == set()


def test_a_live_server_at_the_socket_is_left_alone(launch: Launch, directory: Path) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(directory / "a.sock"))
        other.listen()

        launched = launch(BOTH)

        assert "--socket" in refusal(launched, 2)
        assert launched.files() == {"a.sock"}


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--host", "example.org"], "--host"),
        (["--allowed-hosts", "*"], "--allowed-hosts"),
        (["--port", "http"], "--port"),
        (["--ui", "curses"], "--ui"),
        (["--no-such-option"], "--no-such-option"),
        (["no-such-command"], "no-such-command"),
        (["--config", "/nonexistent/axon.toml"], "/nonexistent/axon.toml"),
    ],
)
def test_usage_errors(launch: Launch, options: list[str], named: str) -> None:
    assert named in refusal(launch(BOTH, *options), 2)
