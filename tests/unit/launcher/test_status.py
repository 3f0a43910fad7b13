"""The status object and its table."""

from __future__ import annotations

import os

import msgspec
import pytest

from launcher.policy_types import State
from launcher.status import ChildStatus, Meter, Snapshot, describe, table, with_crash_reports

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
SNAPSHOT = Snapshot(
    run_id="r", pid=1, started_s=0.0, socket="/tmp/a.sock", control_socket="c", url="http://x", children=(SERVER, UI)
)


def test_the_promised_keys_are_there_and_travel_as_json() -> None:
    status = msgspec.json.decode(msgspec.json.encode(describe(SNAPSHOT, 100.0, Meter())))

    assert {"run_id", "pid", "uptime_s", "socket", "url", "children"} <= status.keys()
    server, ui = status["children"]
    promised = {"name", "state", "pid", "restarts", "uptime_s", "cpu_percent", "rss_bytes", "last_exit"}
    assert promised <= server.keys()
    assert (status["uptime_s"], server["uptime_s"], server["state"]) == (100.0, 10.0, "RUNNING")
    assert server["rss_bytes"] > 1 << 20
    assert (ui["pid"], ui["uptime_s"], ui["rss_bytes"], ui["reason"]) == (None, None, None, "no Qt")


def test_a_process_that_is_gone_has_no_figures() -> None:
    assert Meter().read(2**22 + 1) == {"cpu_percent": None, "rss_bytes": None}


@pytest.mark.parametrize(("uptime_s", "words"), [(5.9, "up 5 s"), (65, "up 1 min 5 s"), (7260, "up 2 h 1 min")])
def test_the_table_is_for_people(uptime_s: float, words: str) -> None:
    head, columns, server, ui = table(describe(SNAPSHOT, uptime_s, Meter())).splitlines()

    assert words in head
    assert columns.split()[:3] == ["child", "state", "pid"]
    assert server.split()[:4] == ["server", "RUNNING", str(os.getpid()), "2"]
    assert ui.endswith("no Qt")


def test_the_last_crash_reports_are_named() -> None:
    status = with_crash_reports(describe(SNAPSHOT, 100.0, Meter()), {"ui": "/s/2.json", "server": "/s/1.json"})

    assert status["last_crash_report"] == "/s/2.json"
    assert [child["last_crash_report"] for child in status["children"]] == ["/s/1.json", "/s/2.json"]
    assert table(status).splitlines()[-1] == "last crash report: /s/2.json"
    assert with_crash_reports(describe(SNAPSHOT, 100.0, Meter()), {})["last_crash_report"] is None
