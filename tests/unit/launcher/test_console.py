"""Events for a person's eyes."""

from __future__ import annotations

import re

from launcher.console import render

EVENT = {
    "timestamp": "2026-01-31T08:00:00.123456Z",
    "level": "warning",
    "event": "child_exited",
    "proc": "launcher",
    "pid": 1,
    "run_id": "r",
    "child": "ui",
    "exit_code": None,
    "signal": "SIGKILL",
    "uptime_s": 1.2345678,
    "reason": "two words",
    "empty": "",
}


def test_a_line_has_time_process_level_name_and_keys() -> None:
    line = render(EVENT, colours=False)

    assert line == (
        "08:00:00.123Z launcher warning child_exited           "
        "child=ui signal=SIGKILL uptime_s=1.23457 reason='two words' empty=''"
    )


def test_colours_change_nothing_but_colours() -> None:
    coloured = render(EVENT, colours=True)

    assert "\x1b[33m" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == render(EVENT, colours=False)


def test_output_of_a_child_is_shown_as_it_was_written() -> None:
    line = render({**EVENT, "event": "child_output", "proc": "ui", "text": "a  b"}, colours=False)

    assert line.endswith("│ a  b")


def test_a_traceback_follows_indented() -> None:
    line = render({**EVENT, "exception": "Traceback:\n  boom"}, colours=False)

    assert line.splitlines()[1:] == ["    Traceback:", "      boom"]


def test_a_value_cannot_drive_the_terminal() -> None:
    hostile = "\x1b[2J\u202eevil\r\n"
    for event in ({**EVENT, "person": hostile}, {**EVENT, "event": "child_output", "text": hostile}):
        line = render(event, colours=False)

        assert line.isprintable()
        assert "\\x1b[2J\\u202eevil\\r\\n" in line


def test_an_event_without_anything_does_not_fail() -> None:
    assert render({}, colours=True)
