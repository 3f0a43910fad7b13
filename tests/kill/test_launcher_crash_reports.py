"""Each abnormal death leaves a report behind, and a stop leaves none."""

from __future__ import annotations

import base64
import json
import os
import signal
import stat
from pathlib import Path
from typing import Any

import pytest

from ipc.authkey import key_path
from launcher.last_words import MAX_LINES
from tests.kill.conftest import Launch, Launched
from tests.kill.test_launcher_control import run, status

BOTH = {"server": "steady", "ui": "steady"}
ONCE = {"intensity": 1}


def entry(name: str) -> dict[str, str]:
    return {"server": f"tests.kill.log_children:{name}"}


def report_of(launched: Launched, child: str = "server") -> dict[str, Any]:
    written = launched.wait_for("crash_report_written", child=child)
    file = Path(written["file"])
    assert file.parent == launched.directory / "state/crashes"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    report: dict[str, Any] = json.loads(file.read_text())
    return report


def reports(launched: Launched) -> list[str]:
    return sorted(path.name for path in (launched.directory / "state/crashes").glob("*"))


def test_a_killed_child_is_reported_and_status_names_the_report(launch: Launch) -> None:
    launched = launch(BOTH)
    launched.wait_for("launcher_ready")
    pid = launched.wait_for("child_started", child="ui")["child_pid"]
    launched.wait_for("child_working", proc="ui")
    assert status(launched)["last_crash_report"] is None

    os.kill(pid, signal.SIGKILL)

    report = report_of(launched, "ui")
    assert (report["child"], report["child_pid"], report["reason"]) == ("ui", pid, "crashed")
    assert (report["signal"], report["exit_code"], report["detail"]) == ("SIGKILL", None, "killed by SIGKILL")
    assert report["uptime_s"] > 0
    assert [event["event"] for event in report["log"]] == ["child_working"]
    assert report["versions"]["python"]
    found = status(launched)
    (name,) = reports(launched)
    path = str(launched.directory / "state/crashes" / name)
    assert found["last_crash_report"] == path
    assert [child["last_crash_report"] for child in found["children"]] == [None, path]
    assert run(launched, "status").stdout.splitlines()[-1] == f"last crash report: {path}"


def test_a_spare_that_crashes_is_reported_and_one_that_is_not_needed_is_not(launch: Launch) -> None:
    launched = launch(BOTH)
    for child in BOTH:
        launched.wait_for("child_ready", child=child)
    pid = launched.wait_for("spare_ready", child="server")["child_pid"]

    os.kill(pid, signal.SIGSEGV)

    report = report_of(launched)
    assert (report["child_pid"], report["signal"]) == (pid, "SIGSEGV")
    assert report["dump"]
    launched.wait_for("spare_ready", child="server")
    launched.process.send_signal(signal.SIGHUP)
    for child in BOTH:
        launched.wait_for("child_ready", child=child)
    launched.process.terminate()
    assert launched.wait_for_exit() == 0
    assert len(reports(launched)) == 1


def test_an_exit_code_is_reported_with_the_last_two_hundred_lines(launch: Launch) -> None:
    launched = launch(entry("failing"), limits=ONCE)

    report = report_of(launched)

    assert (report["exit_code"], report["signal"], report["reason"]) == (3, None, "crashed")
    assert [event["number"] for event in report["log"]] == list(range(100, 300))
    assert report["dump"] == []


def test_a_child_that_leaves_unasked_is_reported_though_its_exit_code_is_zero(launch: Launch) -> None:
    launched = launch({"server": "quitting"}, limits=ONCE)

    report = report_of(launched)

    launched.wait_for("child_fatal", child="server")
    assert (report["exit_code"], report["detail"]) == (0, "exit code 0")


def test_a_user_who_quits_is_not_reported(launch: Launch) -> None:
    launched = launch({"ui": "quitting"})

    assert launched.wait_for_exit() == 0
    assert reports(launched) == []


def test_an_exception_is_in_the_report(launch: Launch) -> None:
    report = report_of(launch({"server": "crashing"}, limits=ONCE))

    assert "broken as ordered" in report["log"][-1]["exception"]


def test_a_segfault_is_reported_with_its_dump(launch: Launch) -> None:
    report = report_of(launch({"server": "dumping"}, limits=ONCE))

    assert report["signal"] == "SIGSEGV"
    assert report["dump"][0] == "Fatal Python error: Segmentation fault"
    assert any("in dumping" in line for line in report["dump"])


def test_a_long_dump_leaves_the_log_lines_before_it_in_the_report(launch: Launch) -> None:
    report = report_of(launch(entry("dying_of_many_frames"), limits=ONCE))

    assert len(report["dump"]) > MAX_LINES
    numbers = [event["number"] for event in report["log"] if event["event"] == "worked"]
    assert numbers == list(range(50))


def test_a_hung_child_is_reported_with_every_threads_stack_in_the_log_too(launch: Launch) -> None:
    launched = launch({"server": "never_ready"}, limits={**ONCE, "start_timeout_s": 5, "dump_s": 30})

    launched.wait_for("child_exited", signal="SIGABRT")
    report = report_of(launched)

    assert (report["reason"], report["signal"], report["detail"]) == ("hung", "SIGABRT", "not ready within 5 s")
    for said in (report["dump"], [event["text"] for event in launched.remaining("child_output")]):
        assert said[0] == "Fatal Python error: Aborted"
        assert any("in never_ready" in line for line in said)
        assert any(line.startswith("Thread 0x") for line in said)


def test_an_ordered_stop_or_restart_is_not_reported(launch: Launch) -> None:
    launched = launch({"server": "steady", "ui": "stubborn"}, limits={"stop_timeout_s": 0.5})
    launched.wait_for("launcher_ready")
    for child in ("server", "ui"):
        run(launched, "restart", child)
        launched.wait_for("child_exited", child=child)
        launched.wait_for("child_started", child=child)
        launched.wait_for("child_ready", child=child)
        launched.wait_for("child_ready", child=child)
    launched.process.terminate()

    assert launched.wait_for_exit() == 0
    assert launched.remaining("crash_report_written") == []
    assert reports(launched) == []


def test_dying_of_something_else_while_stopping_is_reported(launch: Launch) -> None:
    launched = launch(entry("segfaulting_when_stopped"))
    launched.wait_for("launcher_ready")
    launched.process.terminate()

    assert launched.wait_for_exit() == 0
    assert report_of(launched)["signal"] == "SIGSEGV"


def test_a_directory_that_cannot_be_written_costs_the_report_and_nothing_else(launch: Launch, directory: Path) -> None:
    (directory / "state").mkdir()
    (directory / "state/crashes").write_text("a file is in the way")
    launched = launch({"server": "crashing"})

    launched.wait_for("crash_report_failed", reason="File exists")
    launched.wait_for("child_fatal", child="server")
    launched.process.terminate()

    assert launched.wait_for_exit() == 0
    assert launched.remaining("crash_report_failed") == [], "once is enough"


def test_only_fifty_reports_are_kept(launch: Launch, directory: Path) -> None:
    crashes = directory / "state/crashes"
    crashes.mkdir(parents=True)
    for number in range(60):
        (crashes / f"20200101T000000.{number:06}Z-ui.json").write_text("{}")

    report_of(launch({"server": "crashing"}, limits=ONCE))

    names = sorted(path.name for path in crashes.iterdir())
    assert len(names) == 50
    assert names[-1].endswith("-server.json")


@pytest.mark.parametrize("options", [(), ("--log-level", "debug", "--log-payloads")])
def test_no_secret_is_in_the_log_or_a_report_however_it_is_told(launch: Launch, options: tuple[str, ...]) -> None:
    launched = launch(entry("indiscreet"), *options, limits=ONCE)
    launched.wait_for("child_started")
    key = bytes.fromhex(Path(key_path(str(launched.socket))).read_text())
    report_of(launched)
    launched.process.terminate()
    assert launched.wait_for_exit() == 0

    state = launched.directory / "state"
    texts = {path: path.read_text() for path in state.rglob("*") if path.suffix in (".jsonl", ".json")}
    assert len(texts) == 2
    for path, text in texts.items():
        assert "secrets_told" in text, path
        spelt = [key.hex(), base64.b64encode(key).decode(), repr(key)[2:-1], json.dumps(repr(key)[2:-1])[1:-1]]
        assert not [word for word in (*spelt, "5ec2e7") if word.lower() in text.lower()], path
