"""Which deaths are worth a report, and what it says."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from launcher.crash_report import Death, Evidence, describe_death, versions

ROOT = Path(__file__).resolve().parents[3]


def death(**keys: Any) -> Death:
    return Death(**({"child": "ui", "child_pid": 7, "exit_code": None, "signal": None, "uptime_s": 1.5} | keys))


@pytest.mark.parametrize(
    ("keys", "is_abnormal"),
    [
        ({"signal": "SIGKILL"}, True),
        ({"exit_code": 1}, True),
        ({"exit_code": 78}, True),
        ({"exit_code": 0}, True),
        ({"exit_code": 0, "was_asked_to_stop": True}, False),
        ({"signal": "SIGTERM", "was_asked_to_stop": True}, False),
        ({"signal": "SIGKILL", "was_asked_to_stop": True}, False),
        ({"signal": "SIGSEGV", "was_asked_to_stop": True}, True),
        ({"exit_code": 1, "was_asked_to_stop": True}, True),
        ({"signal": "SIGABRT", "hung": "no heartbeat"}, True),
        ({"exit_code": 0, "hung": "no heartbeat"}, True),
    ],
)
def test_a_death_is_abnormal_unless_it_was_asked_for(keys: dict[str, Any], is_abnormal: bool) -> None:
    assert death(**keys).is_abnormal is is_abnormal


def test_a_report_says_how_and_with_what() -> None:
    evidence = Evidence(log=[{"event": "x"}], dump=["Fatal Python error: Aborted"], samples=[{"rss_bytes": 5}])

    hung = describe_death(death(signal="SIGABRT", hung="no heartbeat for 5 s"), evidence, "2026", "r")
    crashed = describe_death(death(exit_code=3), evidence, "2026", "r")

    assert (hung["reason"], hung["detail"], hung["signal"]) == ("hung", "no heartbeat for 5 s", "SIGABRT")
    assert (crashed["reason"], crashed["detail"], crashed["exit_code"]) == ("crashed", "exit code 3", 3)
    assert (hung["child"], hung["child_pid"], hung["uptime_s"], hung["time"], hung["run_id"]) == (
        "ui",
        7,
        1.5,
        "2026",
        "r",
    )
    assert (hung["log"], hung["dump"]) == ([{"event": "x"}], ["Fatal Python error: Aborted"])
    assert hung["samples"] == [{"rss_bytes": 5}]


def test_the_versions_are_those_that_run() -> None:
    found = versions()

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert found["axon"] == project["version"]
    assert found.keys() >= {"python", "pyside6", "flask", "kernel"}
    assert all(found.values())
