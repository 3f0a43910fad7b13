"""The status object and its table."""

from __future__ import annotations

import os
from typing import Any

import msgspec
import pytest

from launcher.policy_types import State
from launcher.status import ChildStatus, Snapshot, describe, table, with_crash_reports

SERVER = ChildStatus(name="server", state=State.RUNNING, pid=os.getpid(), restarts=2, started_s=90.0, last_exit=None)
UI = ChildStatus(
    name="ui",
    state=State.FATAL,
    pid=None,
    restarts=4,
    started_s=None,
    last_exit={"exit_code": 78, "words": "exit code 78"},
    reason="no Qt",
)
FIGURES = {"cpu_percent": 1.25, "rss_bytes": 50 << 20, "uss_bytes": None, "threads": 14, "fds": 28, "processes": 1}
SNAPSHOT = Snapshot(
    run_id="r", pid=1, started_s=0.0, socket="/tmp/a.sock", control_socket="c", url="http://x", children=(SERVER, UI)
)


def figures(_name: str, pid: int | None) -> dict[str, Any]:
    return FIGURES if pid is not None else dict.fromkeys(FIGURES)


def test_the_promised_keys_are_there_and_travel_as_json() -> None:
    status = msgspec.json.decode(msgspec.json.encode(describe(SNAPSHOT, 100.0, figures)))

    assert {"run_id", "pid", "uptime_s", "socket", "url", "children"} <= status.keys()
    server, ui = status["children"]
    promised = {"name", "state", "pid", "restarts", "uptime_s", "cpu_percent", "rss_bytes", "last_exit"}
    assert promised <= server.keys()
    assert (status["uptime_s"], server["uptime_s"], server["state"]) == (100.0, 10.0, "RUNNING")
    assert (server["cpu_percent"], server["rss_bytes"]) == (1.25, 50 << 20)
    assert (ui["pid"], ui["uptime_s"], ui["rss_bytes"], ui["reason"]) == (None, None, None, "no Qt")


@pytest.mark.parametrize(
    ("uptime_s", "words"),
    [(5.9, "up 5 s"), (65, "up 1 min 5 s"), (7260, "up 2 h 1 min"), (200_000, "up 2 d 7 h")],
)
def test_the_table_is_for_people(uptime_s: float, words: str) -> None:
    head, url, socket, _empty, columns, server, ui = table(describe(SNAPSHOT, uptime_s, figures)).splitlines()

    assert (head, url.split(), socket.split()) == (
        f"axon running, pid 1, {words}",
        ["http", "http://x"],
        ["socket", "/tmp/a.sock"],
    )
    assert columns.split()[:3] == ["child", "state", "pid"]
    assert server.split()[:4] == ["server", "RUNNING", str(os.getpid()), "2"]
    assert "1.2 %  50 MiB       14   28  -" in server
    assert ui.endswith("no Qt")


def test_how_a_child_ended_last_is_told_with_its_age() -> None:
    exited = msgspec.structs.replace(SERVER, last_exit={"words": "killed by SIGKILL", "uptime_s": 65.0})
    snapshot = msgspec.structs.replace(SNAPSHOT, children=(exited,), is_stopping=True)

    text = table(describe(snapshot, 100.0, figures))

    assert text.endswith("killed by SIGKILL, after 1 min 5 s")
    assert text.startswith("axon stopping")


def test_a_child_that_is_coming_back_says_which_attempt_it_is() -> None:
    coming = msgspec.structs.replace(SERVER, state=State.BACKOFF, attempt=3, reason="exit code 1")
    snapshot = msgspec.structs.replace(SNAPSHOT, children=(coming,))

    assert table(describe(snapshot, 100.0, figures)).endswith("exit code 1; attempt 3")


def test_colours_do_not_move_the_columns() -> None:
    status = describe(SNAPSHOT, 100.0, figures)

    painted = table(status, lambda text, colour: f"<{colour}>{text}</>" if colour else text)

    assert "<green>RUNNING</>" in painted
    assert "<red>FATAL</>" in painted
    assert painted.replace("<green>", "").replace("<red>", "").replace("</>", "") == table(status)


def test_the_last_crash_reports_are_named() -> None:
    status = with_crash_reports(describe(SNAPSHOT, 100.0, figures), {"ui": "/s/2.json", "server": "/s/1.json"})

    assert status["last_crash_report"] == "/s/2.json"
    assert [child["last_crash_report"] for child in status["children"]] == ["/s/1.json", "/s/2.json"]
    assert table(status).splitlines()[-1] == "last crash report: /s/2.json"
    assert with_crash_reports(describe(SNAPSHOT, 100.0, figures), {})["last_crash_report"] is None
