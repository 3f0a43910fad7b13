"""What doctor looks at on the machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from launcher import doctor_machine
from launcher.findings import Finding, Result
from launcher.settings import Settings


def result_of(findings: list[Finding]) -> list[tuple[str, Result]]:
    return [(finding.topic, finding.result) for finding in findings]


def test_this_machine_can_run_the_tests() -> None:
    for check in (doctor_machine.python_finding, doctor_machine.dependency_findings, doctor_machine.kernel_findings):
        assert all(finding.result is Result.OK for finding in check()), list(check())
    assert len(list(doctor_machine.limit_findings())) == 1


def test_an_old_python_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 10, 9))

    (finding,) = doctor_machine.python_finding()

    assert finding.result is Result.PROBLEM
    assert "3.11" in finding.remedy


def test_missing_and_unpinned_dependencies_are_named(tmp_path: Path) -> None:
    (tmp_path / "requirements.in").write_text("# comment\npsutil\nno-such.Thing>=1\nmsgspec\n-c other.txt\n")
    (tmp_path / "requirements.txt").write_text("psutil==0.0.1 \\\n    --hash=sha256:00\nNo_Such-thing==1.0\n")

    findings = list(doctor_machine.dependency_findings(tmp_path))

    assert result_of(findings) == [
        ("dependencies", Result.WARNING),
        ("dependencies", Result.PROBLEM),
        ("dependencies", Result.OK),
    ]
    assert "not the tested 0.0.1" in findings[0].detail
    assert "no-such.Thing is not installed" in findings[1].detail
    assert "make run" in findings[1].remedy
    assert findings[2].detail.startswith("msgspec ")


def test_without_the_lists_nothing_can_be_compared(tmp_path: Path) -> None:
    (finding,) = doctor_machine.dependency_findings(tmp_path)
    assert finding.result is Result.WARNING


def test_qt_and_display_do_not_matter_without_a_ui() -> None:
    settings = Settings(ui="none")

    for check in (doctor_machine.qt_findings, doctor_machine.display_findings):
        assert [finding.result for finding in check(settings, {})] == [Result.OK]


@pytest.mark.parametrize(
    ("code", "stdout", "result", "words"),
    [
        (1, "Qt needs libEGL.so.1; install them: apt-get install -y libegl1\n", Result.PROBLEM, "libEGL.so.1"),
        (0, "every system library that Qt needs is there\n", Result.OK, "is there"),
        (2, "", Result.WARNING, "cannot be checked"),
    ],
)
def test_the_ui_is_asked_which_libraries_are_missing(
    code: int, stdout: str, result: Result, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask(*arguments: str) -> subprocess.CompletedProcess[str]:
        is_list = "--missing-packages" in arguments
        return subprocess.CompletedProcess(arguments, 0 if is_list else code, "" if is_list else stdout, "broken\nhere")

    monkeypatch.setattr(doctor_machine, "_ask", ask)

    (finding,) = doctor_machine.qt_findings(Settings(), {})

    assert finding.result is result
    assert words in finding.detail
    assert result is not Result.PROBLEM or finding.remedy == "apt-get install -y libegl1"


def test_a_ui_without_a_display_is_a_warning_and_one_that_wants_none_is_not() -> None:
    assert [finding.result for finding in doctor_machine.display_findings(Settings(), {})] == [Result.WARNING]
    assert [finding.result for finding in doctor_machine.display_findings(Settings(ui="offscreen"), {})] == [Result.OK]


def test_a_display_that_cannot_be_reached_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", ":4711")
    monkeypatch.delenv("QT_QPA_PLATFORM", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)

    (finding,) = doctor_machine.display_findings(Settings(), os.environ)

    assert finding.result is Result.WARNING
    assert "offscreen" in finding.detail


def test_a_kernel_that_lacks_something_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "pidfd_open")

    (finding,) = doctor_machine.kernel_findings()

    assert finding.result is Result.WARNING
    assert "has no pidfd:" in finding.detail


def test_few_descriptors_are_a_warning_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_machine.resource, "getrlimit", lambda _which: (256, 2048))

    (finding,) = doctor_machine.limit_findings()

    assert (finding.result, finding.remedy) == (Result.WARNING, "ulimit -n 2048")
