"""The well-known events in words."""

from __future__ import annotations

from typing import Any

import pytest

from launcher.console_words import duration, milliseconds, pair, sentence, size


@pytest.mark.parametrize(
    ("name", "keys", "words"),
    [
        ("child_started", {"child": "ui", "child_pid": 7}, "ui (pid 7)"),
        ("child_ready", {"child": "ui", "child_pid": 7, "start_s": 0.35}, "ui (pid 7) after 350 ms"),
        (
            "child_exited",
            {"child": "ui", "child_pid": 7, "exit_code": None, "signal": "SIGKILL", "uptime_s": 125.2},
            "ui (pid 7) killed by SIGKILL after 2 min 5 s",
        ),
        ("child_exited", {"child": "ui", "exit_code": 3, "signal": None}, "ui exit code 3"),
        ("child_hung", {"child": "ui", "child_pid": 7, "reason": "no heartbeat"}, "ui (pid 7): no heartbeat"),
        ("child_fatal", {"child": "ui", "reason": "5 crashes"}, "ui: 5 crashes"),
        ("child_signalled", {"child": "ui", "child_pid": 7, "signal": "SIGTERM"}, "ui (pid 7) ← SIGTERM"),
        (
            "restart_scheduled",
            {"child": "ui", "delay_s": 0, "attempt": 1, "reason": "x"},
            "ui at once (attempt 1) after: x",
        ),
        ("restart_scheduled", {"child": "ui", "delay_s": 2.5, "attempt": 2}, "ui in 2.5 s (attempt 2)"),
        ("restart_scheduled", {"child": "ui", "delay_s": 2.5}, "ui in 2.5 s"),
        ("crash_report_written", {"child": "ui", "child_pid": 7, "file": "/s/1.json"}, "ui (pid 7) /s/1.json"),
        ("launcher_ready", {"url": "http://127.0.0.1:1340"}, "http://127.0.0.1:1340"),
        (
            "traffic",
            {"sent": 1204, "sent_bytes": 2048, "received": 0, "received_bytes": 0, "p50_ms": 0.2, "p99_ms": 3.0},
            "sent 1,204 (2 KiB) received 0 (0 B) p50 0.2 ms p99 3 ms",
        ),
        (
            "message_sent",
            {"peer": "ui-3", "op": "message", "type": "attendance", "seq": 12, "size_bytes": 245},
            "→ ui-3 attendance #12 245 B",
        ),
        ("message_received", {"peer": "ui-3", "op": "request", "id": 4}, "← ui-3 request #4"),
        ("log_lines_dropped", {"target": "stdout", "count": 1200}, "1,200 lines: stdout was too slow for them"),
        (
            "log_lines_dropped",
            {"child": "ui", "child_pid": 7, "count": 1},
            "1 lines: ui (pid 7) wrote too much",
        ),
    ],
)
def test_sentences(name: str, keys: dict[str, Any], words: str) -> None:
    rest = dict(keys)

    assert " ".join(sentence(name, rest)) == words
    assert rest.keys() <= {"op"}


def test_what_a_sentence_does_not_tell_of_is_left_to_be_shown() -> None:
    rest = {"child": "ui", "child_pid": 7, "colour": "red"}

    sentence("child_started", rest)
    assert rest == {"colour": "red"}


@pytest.mark.parametrize("name", ["child_exited", "traffic", "message_sent", "log_lines_dropped", "restart_scheduled"])
def test_a_stranger_of_the_same_name_does_not_fail(name: str) -> None:
    sentence(name, {})
    sentence(name, dict.fromkeys(("uptime_s", "sent", "sent_bytes", "size_bytes", "count", "delay_s", "p50_ms"), "odd"))


@pytest.mark.parametrize(
    ("key", "value", "shown"),
    [
        ("uptime_s", 3725.0, ("uptime", "1h2min")),
        ("size_bytes", 1536, ("size", "1.5KiB")),
        ("cpu_percent", 12.34, ("cpu", "12.3%")),
        ("marks_per_s", 12.0, ("marks_per_s", "12")),
        ("ratio", 0.12345678, ("ratio", "0.123457")),
        ("is_open", True, ("is_open", "True")),
        ("_s", 5, ("_s", "5")),
        ("words", "two words", ("words", "'two words'")),
        ("nothing", "", ("nothing", "''")),
    ],
)
def test_pairs(key: str, value: Any, shown: tuple[str, str]) -> None:
    assert pair(key, value) == shown


def test_units() -> None:
    assert [duration(value) for value in (0.0123, 5.678, 61, 7260)] == ["12.3 ms", "5.68 s", "1 min 1 s", "2 h 1 min"]
    assert [milliseconds(value) for value in (0.25, 2500)] == ["0.25 ms", "2.5 s"]
    assert [size(value) for value in (5, 2048, 5 << 20, 5 << 30)] == ["5 B", "2 KiB", "5 MiB", "5 GiB"]
