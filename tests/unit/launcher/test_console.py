"""Events for a person's eyes."""

from __future__ import annotations

import re

import pytest

from launcher.console import Look, decoded, render

PLAIN = Look(colours=False)
EVENT = {
    "timestamp": "2026-01-31T08:00:00.123456Z",
    "level": "warning",
    "event": "mark_refused",
    "proc": "server",
    "pid": 1,
    "run_id": "r",
    "child": "ui",
    "exit_code": None,
    "took_s": 1.2345678,
    "size_bytes": 2048,
    "reason": "two words",
    "empty": "",
}


def test_a_line_has_time_process_level_name_and_keys_with_units() -> None:
    assert render(EVENT, PLAIN) == (
        "08:00:00.123 server   WARN  mark_refused       child=ui took=1.23s size=2KiB reason='two words' empty=''"
    )


def test_colours_change_nothing_but_colours() -> None:
    coloured = render(EVENT, Look(colours=True))

    assert "\x1b[1;33m" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == render(EVENT, PLAIN)


def test_each_process_has_its_colour() -> None:
    heads = {
        render({**EVENT, "proc": proc}, Look(colours=True)).split(proc)[0] for proc in ("server", "ui", "launcher")
    }

    assert len(heads) == 3


def test_output_of_a_child_is_shown_as_it_was_written() -> None:
    line = render({**EVENT, "event": "child_output", "proc": "ui", "text": "a  b"}, PLAIN)

    assert line.endswith("│ a  b")


def test_a_traceback_follows_indented() -> None:
    line = render({**EVENT, "exception": "Traceback:\n  boom"}, PLAIN)

    assert line.splitlines()[1:] == ["    Traceback:", "      boom"]


@pytest.mark.parametrize("name", ["x", "child_output", "child_fatal", "message_sent"])
def test_a_value_cannot_drive_the_terminal(name: str) -> None:
    hostile = "\x1b[2J\u202eevil\r\n"
    keys = dict.fromkeys(("text", "person", "child", "reason", "type", "peer", "level", "proc", "timestamp"), hostile)
    line = render({**EVENT, **keys, hostile: 1, "event": name}, PLAIN)

    assert line.isprintable()
    assert "\\x1b[2J\\u202eevil\\r\\n" in line


def test_an_event_without_anything_does_not_fail() -> None:
    assert render({}, Look(colours=True))


def test_the_channel_is_not_named_where_it_has_the_name_of_the_process() -> None:
    assert "channel" not in render({**EVENT, "channel": "server"}, PLAIN)
    assert "channel=ui" in render({**EVENT, "channel": "ui"}, PLAIN)


def test_a_wide_line_is_broken_between_phrases_and_indented() -> None:
    whole = render(EVENT, PLAIN)
    assert render(EVENT, Look(colours=False, columns=len(whole))) == whole
    wide = render(EVENT, Look(colours=False, columns=len(whole) - 1)).splitlines()
    narrow = render(EVENT, Look(colours=False, columns=60)).splitlines()

    assert wide[1:] == [" " * 28 + "empty=''"]
    assert all(len(line) <= 60 for line in narrow)
    assert [line[:5] for line in narrow[1:]] == ["    t"]
    assert " ".join(" ".join(narrow).split()) == " ".join(whole.split())


def test_a_value_is_never_broken() -> None:
    line = render({**EVENT, "path": "/x" * 100}, Look(colours=True, columns=40))

    assert "/x" * 100 in line


def test_a_renderer_of_events_reads_lines() -> None:
    assert decoded(lambda: PLAIN)(b'{"event":"x\xf0\x9f\x98\x80"}').endswith("x😀".encode())


def test_a_line_that_cannot_be_rendered_is_shown_as_it_is() -> None:
    assert decoded(lambda: PLAIN)(b"not JSON") == b"not JSON"
