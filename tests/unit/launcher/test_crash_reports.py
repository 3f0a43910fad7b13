"""Reports as files: whole, private, few, and never in anybody's way."""

from __future__ import annotations

import json
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from launcher.crash_report import Death
from launcher.crash_reports import KEEP, CrashReports, Source, write_whole
from launcher.last_words import LastWords

KILLED = Death(child="ui", child_pid=7, exit_code=None, signal="SIGKILL", uptime_s=1.0)
STOPPED = Death(child="ui", child_pid=7, exit_code=0, signal=None, uptime_s=1.0, was_asked_to_stop=True)


class Reports:
    """Reports in a directory, from a source whose thread can be held up."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "crashes"
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self.reports = CrashReports(
            self.directory,
            Source(
                run_id="r",
                words_of=lambda _origin: LastWords(),
                told=self._told,
                samples=lambda child: [{"child": child}],
            ),
        )
        self.reports.start()

    def _told(self, *_arguments: object) -> tuple[list[dict[str, Any]], list[str]]:
        self.may_go_on.wait(10)
        return [{"event": "x"}], []

    def of(self, *deaths: Death) -> list[str]:
        for death in deaths:
            self.reports.note(death)
        self.reports.close(10)
        return sorted(path.name for path in self.directory.glob("*")) if self.directory.exists() else []


@pytest.fixture
def it(tmp_path: Path) -> Iterator[Reports]:
    reports = Reports(tmp_path)
    yield reports
    reports.reports.close(10)


def test_a_report_is_written_for_us_alone_and_named(it: Reports) -> None:
    (name,) = it.of(KILLED)

    file = it.directory / name
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(it.directory.stat().st_mode) == 0o700
    assert name.endswith("Z-ui.json")
    assert it.reports.last() == {"ui": str(file)}
    report = json.loads(file.read_text())
    assert (report["signal"], report["run_id"], report["log"]) == ("SIGKILL", "r", [{"event": "x"}])
    assert report["samples"] == [{"child": "ui"}]


def test_who_was_only_waiting_has_a_report_without_the_figures_of_who_acts(it: Reports) -> None:
    (name,) = it.of(Death(child="ui", child_pid=7, exit_code=None, signal="SIGSEGV", uptime_s=1.0, was_waiting=True))

    report = json.loads((it.directory / name).read_text())
    assert report["detail"] == "killed by SIGSEGV, while waiting for its turn"
    assert report["samples"] == []


def test_a_death_as_it_should_be_is_not_reported(it: Reports) -> None:
    assert it.of(STOPPED) == []
    assert it.reports.last() == {}


def test_only_the_newest_are_kept(it: Reports) -> None:
    it.directory.mkdir()
    for number in range(60):
        (it.directory / f"20200101T000000.{number:06}Z-server.json").write_text("{}")
    (it.directory / "notes.txt").write_text("mine")
    names = it.of(KILLED)

    assert len(names) == KEEP + 1
    assert "notes.txt" in names
    assert names[0] == "20200101T000000.000011Z-server.json"
    assert list(it.reports.last()) == ["ui", "server"]


def test_the_one_just_written_is_the_newest_though_the_clock_was_set_back(it: Reports) -> None:
    it.directory.mkdir()
    for number in range(KEEP):
        (it.directory / f"20990101T000000.{number:06}Z-server.json").write_text("{}")
    names = it.of(KILLED, KILLED)

    assert len(names) == KEEP
    assert [name[-8:] for name in names[:3]] == ["-ui.json", "-ui.json", "ver.json"]
    assert list(it.reports.last()) == ["ui", "server"]
    assert it.reports.last()["ui"].endswith(names[1])


def test_what_an_earlier_launcher_did_not_finish_is_cleared_away(tmp_path: Path) -> None:
    (tmp_path / "crashes").mkdir()
    (tmp_path / "crashes/.20200101T000000.000000Z-ui.json.tmp").write_text("{")

    assert len(Reports(tmp_path).of(KILLED)) == 1


def test_what_cannot_be_cleared_away_stays_and_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "crashes/.20200101T000000.000000Z-ui.json.tmp").mkdir(parents=True)
    for number in range(KEEP + 10):
        (tmp_path / f"crashes/20200101T000000.{number:06}Z-server.json").mkdir()
    it = Reports(tmp_path)

    with capture_logs() as logs:
        names = it.of(KILLED)

    assert names[-1].endswith("-ui.json")
    assert it.reports.last()["ui"].endswith(names[-1])
    assert [line["event"] for line in logs] == ["crash_report_written"]


def test_reports_of_earlier_launches_are_known(tmp_path: Path) -> None:
    Reports(tmp_path).of(KILLED)

    assert list(Reports(tmp_path).reports.last()) == ["ui"]


def test_noting_does_not_wait_for_the_disk_and_remembers_only_so_many(it: Reports) -> None:
    it.may_go_on.clear()
    for _ in range(100):
        it.reports.note(KILLED)
    it.may_go_on.set()

    assert 1 <= len(it.of()) <= 17


def test_a_directory_that_cannot_be_written_is_said_once(it: Reports) -> None:
    it.directory.parent.joinpath("crashes").write_text("a file is in the way")
    with capture_logs() as said:
        it.of(KILLED, KILLED, KILLED)

    (failed,) = said
    assert (failed["event"], failed["log_level"], failed["reason"]) == ("crash_report_failed", "error", "File exists")
    assert it.directory.read_text() == "a file is in the way"


def test_what_cannot_be_told_does_not_end_the_thread(tmp_path: Path) -> None:
    answers: Iterator[Any] = iter([KeyError("bug"), ([], [])])

    def told(*_arguments: object) -> Any:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    source = Source(run_id="r", words_of=lambda _origin: LastWords(), told=told)
    reports = CrashReports(tmp_path / "crashes", source)
    reports.start()
    with capture_logs() as said:
        reports.note(KILLED)
        reports.note(KILLED)
        reports.close(10)

    assert [line["event"] for line in said] == ["crash_report_failed", "crash_report_written"]


def test_a_file_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("launcher.crash_reports.os.fsync", fail)
    with pytest.raises(OSError, match="No space"):
        write_whole(tmp_path / "x.json", b"{}")

    assert list(tmp_path.iterdir()) == []
