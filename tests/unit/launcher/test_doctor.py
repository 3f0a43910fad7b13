"""doctor as a whole: origins, the report, its exit code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from launcher import cli, doctor
from launcher.findings import ok, problem, warning
from launcher.settings import Settings


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is asked in processes of their own here."""
    for name in ("qt_findings", "display_findings"):
        monkeypatch.setattr(f"launcher.doctor_machine.{name}", lambda *_given: iter(()))


def report(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, Any]]:
    code = cli.main(arguments)
    decoded: dict[str, Any] = json.loads(capsys.readouterr().out)
    return code, decoded


def test_each_value_says_where_it_comes_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], socket_path: str
) -> None:
    file = tmp_path / "axon.toml"
    file.write_text(f'host = "::1"\nstate-dir = "{tmp_path}/state"\nport = 5\n')
    monkeypatch.setenv("AXON_LOG_LEVEL", "debug")
    monkeypatch.setenv("AXON_PORT", "0")

    code, found = report(["--config", str(file), "--ui", "none", "doctor", "--json", "--socket", socket_path], capsys)

    origins = {each["option"]: (each["value"], each["origin"]) for each in found["settings"]}
    said = {option: each for option, each in origins.items() if each[1] != "default"}
    assert said == {
        "--socket": (socket_path, "command line"),
        "--host": ("::1", str(file)),
        "--port": (0, "AXON_PORT"),
        "--state-dir": (f"{tmp_path}/state", str(file)),
        "--ui": ("none", "command line"),
        "--log-level": ("debug", "AXON_LOG_LEVEL"),
    }
    assert origins["--log-format"] == ("auto", "default")
    assert set(origins) == {f"--{name.replace('_', '-')}" for name in Settings.__struct_fields__}
    assert found["instance"] is None
    assert code == (found["result"] == "problem")


def test_every_wrong_setting_is_a_problem_of_its_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("AXON_PORT", "70000")
    monkeypatch.setenv("AXON_PROT", "1")

    code, found = report(["--socket", f"{tmp_path}/none/a.sock", "doctor", "--json"], capsys)

    problems = [each for each in found["findings"] if each["topic"] in ("settings", "environment")]
    assert [each["result"] for each in problems] == ["problem", "problem", "warning"]
    assert "--socket" in problems[0]["detail"]
    assert problems[0]["remedy"].endswith("command line")
    assert "--port 70000" in problems[1]["detail"]
    assert problems[1]["remedy"].endswith("AXON_PORT")
    assert problems[2]["remedy"] == "unset it, or say AXON_PORT"
    assert code == 1


def test_a_path_that_is_no_text_is_a_finding(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, found = report(["--state-dir", str(tmp_path), "doctor", "--json", "--socket", "/tmp/\udcff"], capsys)

    assert code == 1
    assert "printable" in found["findings"][0]["detail"]


def test_a_lock_that_cannot_be_read_does_not_end_the_examination(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.sock.lock").symlink_to("elsewhere")

    code, found = report(["--state-dir", str(tmp_path), "doctor", "--json", "--socket", f"{tmp_path}/a.sock"], capsys)

    results = {each["topic"]: each["result"] for each in found["findings"]}
    assert (code, results["lock"]) == (1, "problem")
    assert "instance" in results


def test_nothing_is_changed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["--state-dir", str(tmp_path / "state"), "doctor", "--socket", str(tmp_path / "a.sock")])

    assert list(tmp_path.iterdir()) == []
    assert "none runs on" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("findings", "exit_code", "summary"),
    [
        ([ok("a", "b")], 0, "All is well."),
        ([ok("a", "b"), warning("a", "b", "c")], 0, "no problems, 1 warning."),
        ([problem("a", "b", "c"), problem("a", "b", "c"), ok("a", "b")], 1, "2 problems, no warnings."),
    ],
)
def test_the_worst_decides(findings: list[Any], exit_code: int, summary: str) -> None:
    worst = max((finding.result for finding in findings), key=["ok", "warning", "problem"].index)
    found = doctor.Report(worst, [doctor.Setting("--port", 1, "default")], findings, None)

    text = doctor.render(found, lambda text, _colour: text)

    assert found.exit_code == exit_code
    assert text.endswith(summary)
    assert text.count("->") == sum(bool(finding.remedy) for finding in findings)
