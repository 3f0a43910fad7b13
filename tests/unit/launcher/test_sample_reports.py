"""Who is told of a sample, and what --max-rss does with it."""

from __future__ import annotations

from typing import Any

from structlog.testing import capture_logs

from launcher.control import Command, RestartChildren
from launcher.memory_limit import MemoryLimit
from launcher.sample_reports import SampleReports
from launcher.sampling import Sample


def sample(rss_bytes: int) -> Sample:
    return Sample(
        timestamp="2026-01-01T00:00:00Z",
        child="server",
        child_pid=7,
        cpu_percent=1.0,
        rss_bytes=rss_bytes,
        uss_bytes=None,
        threads=3,
        fds=4,
        processes=1,
    )


def test_a_sample_goes_to_the_log_at_debug_and_to_the_control_plane() -> None:
    told: list[dict[str, Any]] = []
    with capture_logs() as logs:
        SampleReports(told.append, lambda _command: None, None)([sample(5)])

    (line,) = logs
    assert (line["event"], line["log_level"], line["child"], line["rss_bytes"]) == (
        "process_sampled",
        "debug",
        "server",
        5,
    )
    assert [(each["type"], each["child_pid"], each["fds"]) for each in told] == [("process_sampled", 7, 4)]


def test_a_child_over_the_limit_is_restarted_with_the_figures_in_the_log() -> None:
    posted: list[Command] = []
    reports = SampleReports(lambda _payload: None, posted.append, MemoryLimit(100), clock=lambda: 0.0)
    with capture_logs() as logs:
        for rss_bytes in (50, 150, 160):
            reports([sample(rss_bytes)])

    assert posted == [RestartChildren(("server",))]
    (warning,) = [line for line in logs if line["event"] == "max_rss_exceeded"]
    assert (warning["rss_bytes"], warning["max_rss_bytes"], warning["restart"]) == (160, 100, True)
