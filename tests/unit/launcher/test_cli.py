"""Options from arguments, environment and file; errors as one line and an exit code."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from launcher import cli
from launcher.settings import Settings
from launcher.spec import ChildSpec


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Settings, tuple[ChildSpec, ...]]]:
    """Instead of launching, remember what would have been launched."""
    found: list[tuple[Settings, tuple[ChildSpec, ...]]] = []

    def run(settings: Settings, specs: tuple[ChildSpec, ...]) -> int:
        found.append((settings, specs))
        return 70

    monkeypatch.setattr("launcher.launch.run", run)
    return found


def test_the_exit_code_of_a_launch_is_passed_on(launched: list[tuple[Settings, tuple[ChildSpec, ...]]]) -> None:
    assert cli.main([]) == 70
    settings, specs = launched[0]
    assert (settings.socket, settings.host, settings.port) == ("/tmp/axon-attendance.sock", "127.0.0.1", 1340)
    assert [spec.name for spec in specs] == ["server", "ui"]


def test_ui_none_launches_the_server_alone(launched: list[tuple[Settings, tuple[ChildSpec, ...]]]) -> None:
    cli.main(["--ui", "none"])

    assert [spec.name for spec in launched[0][1]] == ["server"]


def test_arguments_beat_the_environment_and_that_the_file(
    launched: list[tuple[Settings, tuple[ChildSpec, ...]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "axon.toml"
    file.write_text('port = 1\nlog-level = "debug"\nlog_format = "json"\nexit-on-fatal = true\nhang-after = 7.5\n')
    monkeypatch.setenv("AXON_PORT", "2")
    monkeypatch.setenv("AXON_LOG_LEVEL", "error")
    monkeypatch.setenv("AXON_CONFIG", str(file))

    cli.main(["--port", "3"])

    settings = launched[0][0]
    assert (settings.port, settings.log_level, settings.log_format) == (3, "error", "json")
    assert (settings.exit_on_fatal, settings.hang_after) == (True, 7.5)


def test_seconds_in_a_file_may_be_whole(launched: list[tuple[Settings, tuple[ChildSpec, ...]]], tmp_path: Path) -> None:
    file = tmp_path / "axon.toml"
    file.write_text("hang-after = 7\n")

    cli.main(["--config", str(file)])
    assert launched[0][0].hang_after == 7


@pytest.mark.parametrize("where", ["argument", "environment", "file"])
def test_spares_can_be_done_without(
    launched: list[tuple[Settings, tuple[ChildSpec, ...]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    file = tmp_path / "axon.toml"
    file.write_text("no-spares = true\n" if where == "file" else "")
    if where == "environment":
        monkeypatch.setenv("AXON_NO_SPARES", "1")

    cli.main(["--config", str(file), *(["--no-spares"] if where == "argument" else [])])
    assert launched[0][0].no_spares
    assert not Settings().no_spares


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("port = [", "not TOML"),
        ("port = " + "1" * 5000, "not TOML"),
        ("port = " + "[" * 5000, "not TOML"),
        ("hang_after = 1" + "0" * 400, "hang_after: a smaller number is needed"),
        ("colour = 1", "unknown key 'colour'"),
        ("port = [1]", "port: a whole number is needed, not [1]"),
        ("port = true", "port: a whole number is needed, not True"),
        ('port = "http"', "port: a whole number is needed, not 'http'"),
        ("socket = 5", "socket: a string is needed, not 5"),
        ('log-payloads = "yes"', "log-payloads: true or false is needed, not 'yes'"),
        ('ui = "curses"', "'--ui'"),
        ('hang-after = "soon"', "hang-after: a number is needed, not 'soon'"),
        ("hang-after = true", "hang-after: a number is needed, not True"),
        ('max-rss = "lots"', "--max-rss: 'lots' is not a size"),
        ('host = "10.0.0.1"', "--host 10.0.0.1"),
    ],
)
def test_a_bad_file_is_named_in_one_line(
    text: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "axon.toml"
    file.write_text(text)

    assert cli.main(["--config", str(file)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("axon: ")
    assert words in line
    assert str(file) in line


def test_a_wrong_value_names_the_variable_it_comes_from(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for variable, value in (("AXON_PORT", "http"), ("AXON_HOST", "10.0.0.1"), ("AXON_EXIT_ON_FATAL", "perhaps")):
        monkeypatch.setenv(variable, value)
        assert cli.main([]) == 2
        assert f"(the value comes from {variable})" in capsys.readouterr().err
        monkeypatch.delenv(variable)
    monkeypatch.setenv("AXON_CONFIG", str(tmp_path / "none.toml"))
    assert cli.main([]) == 2
    assert "cannot be read: No such file or directory (AXON_CONFIG names this file)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--port", "http"], "--port"),
        (["status", "--colour"], "--colour"),
        (["status", "--port", "5"], "It belongs before the command: run.py --port ... status"),
        (["restart"], "CHILD"),
        (["restart", "ui", "server"], "server"),
        (["stop", "now"], "now"),
        (["send"], "MESSAGE"),
    ],
)
def test_what_was_typed_wrongly_is_one_line(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("axon: ")
    assert words in line


@pytest.mark.parametrize("arguments", [["status"], ["stop"], ["restart", "ui"], ["tail"], ["send", '{"type": "x"}']])
def test_a_subcommand_without_an_instance_says_so(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    socket = str(tmp_path / "a.sock")

    assert cli.main([*arguments, "--socket", socket]) == 3
    assert cli.main(["--socket", socket, *arguments]) == 3
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert all(socket in line for line in lines)


DEEP = '{"a": ' + "[" * 100_000 + "]" * 100_000 + "}"


@pytest.mark.parametrize("message", ["text", "[1]", "{", '{"a": "\udcff"}', DEEP], ids=range(5))
def test_send_takes_objects_only(message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["send", message]) == 2
    assert "a JSON object is needed" in capsys.readouterr().err


def test_what_does_not_fit_into_the_locale_is_shown_escaped(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(said, encoding="iso-8859-1"))

    cli.main(["--socket", str(tmp_path / "d\N{RIGHTWARDS ARROW}.sock"), "doctor"])

    assert rb"d\u2192.sock" in said.getvalue()
    assert capsys.readouterr().err == ""


def test_help_names_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    text = capsys.readouterr().out
    for field in Settings.__struct_fields__:
        assert f"--{field.replace('_', '-')}" in text
