"""What a real child writes, in whatever way, arrives in the one log."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ipc.authkey import key_path
from tests.kill.conftest import Launch


def test_everything_a_child_prints_becomes_an_event(launch: Launch) -> None:
    launched = launch({"server": "noisy"})
    pid = launched.wait_for("child_started")["child_pid"]

    for text in ("printed to stdout", "printed to stderr", "bytes \\xff\\xfe that are not UTF-8", '{"no": "event"}'):
        event = launched.wait_for("child_output", text=text)
        assert (event["proc"], event["pid"], event["child"], event["child_pid"]) == ("server", pid, "server", pid)
    pieces = [launched.wait_for("child_output", text="x" * 65536) for _ in range(3)]
    assert len(pieces) == 3
    launched.wait_for("child_output", text="x" * (200_000 - 3 * 65536))


def test_records_of_logging_become_events(launch: Launch) -> None:
    launched = launch({"server": "noisy"})

    record = launched.wait_for("library_reported", logger="some.library")

    assert (record["message"], record["level"], record["proc"]) == ("this is deprecated", "warning", "server")
    assert record["timestamp"].endswith("Z")


def test_an_event_with_text_that_is_no_unicode_keeps_its_name_and_its_level(launch: Launch) -> None:
    """A file name that is no UTF-8, as Python has it, fits into no JSON."""
    launched = launch({"server": "noisy"})

    event = launched.wait_for("import_failed")

    assert (event["level"], event["path"], event["proc"]) == ("error", "cards-\\udcff.csv", "server")


def test_an_event_behind_unfinished_output_is_still_an_event(launch: Launch) -> None:
    launched = launch({"server": "noisy"})

    launched.wait_for("child_output", text="without a newline")
    assert launched.wait_for("child_working")["proc"] == "server"


def test_a_dying_childs_last_words_and_dump_are_kept(launch: Launch) -> None:
    launched = launch({"server": "dumping"})

    launched.wait_for("child_exited", child="server", signal="SIGSEGV")

    texts = [event["text"] for event in launched.remaining("child_output")]
    assert texts[0].startswith("last words")
    assert any("Fatal Python error: Segmentation fault" in text for text in texts)
    assert any("in dumping" in text for text in texts)


def test_a_line_that_death_cut_off_is_kept_whoever_else_holds_the_pipe(launch: Launch) -> None:
    launched = launch({"server": "mumbling"}, limits={"intensity": 1})

    launched.wait_for("grandchild_started")  # the launcher ends it with its parent
    launched.wait_for("child_exited", child="server", signal="SIGKILL")

    assert [event["text"] for event in launched.remaining("child_output")] == ["a whole line", "half a li"]


def test_the_file_holds_the_same_lines_as_stdout(launch: Launch) -> None:
    launched = launch({"server": "steady", "ui": "steady"})
    launched.wait_for("launcher_ready")
    launched.process.terminate()
    launched.wait_for("shutdown_completed")
    assert launched.wait_for_exit() == 0

    lines = (launched.directory / "state/logs/axon.jsonl").read_text().splitlines()
    events = [json.loads(line) for line in lines]

    assert events[-1]["event"] == "shutdown_completed"
    names = [event["event"] for event in events]
    assert names.count("child_exited") == 2
    assert names.index("launcher_ready") < names.index("shutdown_started")
    assert len({event["run_id"] for event in events}) == 1
    assert all(event["timestamp"].endswith("Z") for event in events)


def test_the_authkey_is_nowhere_in_the_log(launch: Launch) -> None:
    launched = launch({"server": "steady", "ui": "steady"}, "--log-level", "debug", "--log-payloads")
    launched.wait_for("launcher_ready")
    key = Path(key_path(str(launched.socket))).read_text().strip()
    launched.process.terminate()
    assert launched.wait_for_exit() == 0

    log = (launched.directory / "state/logs/axon.jsonl").read_text()
    assert len(key) == 64
    assert key not in log
    assert repr(bytes.fromhex(key))[2:10] not in log


def test_a_ui_without_a_window_is_said_with_the_reason(launch: Launch) -> None:
    asked = launch({"server": "steady", "ui": "steady"}, "--ui", "offscreen").wait_for("ui_offscreen")

    assert (asked["reason"], asked["level"]) == ("--ui offscreen", "info")


def test_a_missing_display_is_a_warning(launch: Launch, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)

    missing = launch({"server": "steady", "ui": "steady"}).wait_for("ui_offscreen")

    assert (missing["reason"], missing["level"]) == ("no DISPLAY or WAYLAND_DISPLAY", "warning")
