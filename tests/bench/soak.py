"""What the launcher holds after a thousand deaths of its children: `python -m tests.bench.soak [--restarts N]`."""

import argparse
import os
import signal
import sys

import psutil

from tests.bench.launched import Launched, launched

RESTARTS = 1000
WARM_UP = 50
MAX_GROWTH_BYTES = 2 << 20
CHILDREN = {"server": "steady"}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.soak", description=__doc__)
    parser.add_argument("--restarts", type=int, default=RESTARTS)
    restarts = parser.parse_args().restarts
    with launched(CHILDREN) as axon:
        pid = axon.wait_for("child_ready")["child_pid"]
        axon.wait_for("spare_ready")
        pid = _restart(axon, pid, WARM_UP)
        before = _holdings(axon.pid)
        _restart(axon, pid, restarts)
        after = _holdings(axon.pid)
    print(f"{'':12}{'before':>14}{f'after {restarts}':>14}")
    for name, value in before.items():
        print(f"{name:12}{value:>14,}{after[name]:>14,}")
    is_clean = {**after, "rss_bytes": 0} == {**before, "rss_bytes": 0}
    return 0 if is_clean and after["rss_bytes"] - before["rss_bytes"] < MAX_GROWTH_BYTES else 1


def _restart(axon: Launched, pid: int, times: int) -> int:
    for _ in range(times):
        os.kill(pid, signal.SIGKILL)
        pid = axon.wait_for("child_ready")["child_pid"]
        axon.wait_for("spare_ready")
        axon.forget()
    return pid


def _holdings(pid: int) -> dict[str, int]:
    process = psutil.Process(pid)
    children = process.children(recursive=True)
    return {
        "descriptors": process.num_fds(),
        "threads": process.num_threads(),
        "processes": len(children),
        "zombies": sum(child.status() == psutil.STATUS_ZOMBIE for child in children),
        "rss_bytes": process.memory_info().rss,
    }


if __name__ == "__main__":
    sys.exit(main())
