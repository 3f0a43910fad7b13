"""Subcommands of other packages: imported when called, told which instance, free to fail in one line."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

from ipc.command import CommandContext, CommandError
from launcher import cli

COMMANDS = {"greet": ("its_package:greet", "Say hello.")}


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[str], CommandContext]]:
    found: list[tuple[list[str], CommandContext]] = []

    def greet(arguments: list[str], context: CommandContext) -> int:
        found.append((arguments, context))
        if arguments == ["fail"]:
            raise CommandError("greet: nobody\nis there", 2)
        return 7

    module = ModuleType("its_package")
    module.greet = greet  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "its_package", module)
    monkeypatch.setattr(cli.axon, "commands", dict(cli.axon.commands))
    return found


def test_it_reads_its_own_arguments_and_is_told_the_instance(
    called: list[tuple[list[str], CommandContext]], tmp_path: Path
) -> None:
    before = ["--socket", "/tmp/a.sock", "--state-dir", str(tmp_path)]

    assert cli.main([*before, "greet", "--socket", "x", "-h", "ada", "--", "-y"], commands=COMMANDS) == 7

    arguments, context = called[0]
    assert arguments == ["--socket", "x", "-h", "ada", "-y"]
    assert (context.socket, context.state_dir) == ("/tmp/a.sock", str(tmp_path))


def test_it_may_refuse_in_one_line(
    called: list[tuple[list[str], CommandContext]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["greet", "fail"], commands=COMMANDS) == 2
    assert capsys.readouterr().err == "axon: greet: nobody is there\n"
    assert called


@pytest.mark.usefixtures("called")
def test_an_instance_that_does_not_run_is_said_where_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def ask(_arguments: list[str], context: CommandContext) -> int:
        context.url_of(str(tmp_path / "a.sock"))
        return 0

    monkeypatch.setattr(sys.modules["its_package"], "greet", ask)

    assert cli.main(["greet"], commands=COMMANDS) == 3
    assert str(tmp_path / "a.sock") in capsys.readouterr().err


def test_help_lists_it_without_importing_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli.axon, "commands", dict(cli.axon.commands))

    assert cli.main(["--help"], commands=COMMANDS) == 0

    assert "Say hello." in capsys.readouterr().out
    assert "its_package" not in sys.modules
