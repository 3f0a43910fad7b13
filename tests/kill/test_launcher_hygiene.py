"""Many deaths later the launcher holds what it held before, and an idle one sleeps."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import psutil
import pytest

from tests.kill.conftest import Launch, Launched, in_a_quiet_moment
from tests.kill.product import Product
from tests.unit.ipc.channel import eventually

BOTH = {"server": "accepting", "ui": "steady"}
AT_ONCE = {"stable_s": 0.0, "intensity": 1_000_000, "period_s": 1.0}
RESTARTS = 50
WARM_UP = 10
IDLE_S = 8.0
LOOKS = 30
MAX_GROWTH_BYTES = 2 << 20
MAX_WAKE_UPS_PER_S = 2.0


def restart(launched: Launched, pids: dict[str, int], number: int) -> None:
    """Kill the server or the ui, and wait until all is as before."""
    child = ("server", "ui")[number % 2]
    os.kill(pids[child], signal.SIGKILL)
    launched.wait_for("child_exited", child=child)
    pids[child] = launched.wait_for("child_ready", child=child)["child_pid"]
    launched.wait_for("spare_ready", child=child)


def holdings(pid: int) -> dict[str, int]:
    """Return what a process holds for good, which is the least of many looks.

    Now and then it opens a file for a moment, to read a sample or to write a report: nothing tells of that.
    """
    pause = threading.Event()
    looks = [look_at(pid)]
    for _ in range(LOOKS):
        pause.wait(0.01)
        looks.append(look_at(pid))
    return {what: min(look[what] for look in looks) for what in looks[0]}


def look_at(pid: int) -> dict[str, int]:
    process = psutil.Process(pid)
    return {
        "descriptors": process.num_fds(),
        "threads": process.num_threads(),
        "processes": len(process.children(recursive=True)),
        "zombies": sum(child.status() == psutil.STATUS_ZOMBIE for child in process.children(recursive=True)),
    }


def test_after_many_restarts_nothing_has_piled_up(launch: Launch) -> None:
    launched = launch(BOTH, limits=AT_ONCE)
    pids = {child: launched.wait_for("child_ready", child=child)["child_pid"] for child in BOTH}
    for child in BOTH:
        launched.wait_for("spare_ready", child=child)
    for number in range(WARM_UP):
        restart(launched, pids, number)
    before, rss_bytes = holdings(launched.pid), psutil.Process(launched.pid).memory_info().rss

    for number in range(RESTARTS):
        restart(launched, pids, number)

    eventually(lambda: all(count <= before[what] for what, count in look_at(launched.pid).items()))
    assert before["zombies"] == 0
    assert psutil.Process(launched.pid).memory_info().rss - rss_bytes < MAX_GROWTH_BYTES


@pytest.fixture
def product(directory: Path) -> Product:
    return Product(directory, "--log-level", "info")


def test_an_idle_launcher_is_woken_seldom(product: Product) -> None:
    """By heartbeats, and by what keeps the control plane's connections alive."""
    try:
        product.wait_until_ready()
        for child in ("server", "ui"):
            product.wait_for("spare_ready", child=child)
        assert in_a_quiet_moment(lambda: wake_ups_per_s(product.pid) <= MAX_WAKE_UPS_PER_S)
    finally:
        product.clean_up()


def wake_ups_per_s(pid: int) -> float:
    before = wake_ups(pid)
    threading.Event().wait(IDLE_S)  # a rate takes time to be seen
    return (wake_ups(pid) - before) / IDLE_S


def wake_ups(pid: int) -> int:
    """Return how often a thread of the process has gone to sleep, and so been woken."""
    total = 0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        try:
            lines = Path(thread, "status").read_text().splitlines()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has just ended
        total += sum(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt_switches"))
    return total
