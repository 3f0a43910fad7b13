"""What the launcher holds after a thousand restarts of its two children: `python -m tests.bench.soak [--restarts N]`.

The product itself, from the moment when it is ready, without a warm-up: what it takes once counts as much as what it
takes each time. A round kills the server, kills the ui, and has both replaced in order, as SIGHUP does.
"""

import argparse
import os
import signal
import sys
import time

import psutil

from tests.bench.launched import PRODUCT, Launched, launched

RESTARTS = 1000
PER_ROUND = 2 * len(PRODUCT)
LOOKS = 10
MAX_GROWTH_BYTES = 2 << 20


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.soak", description=__doc__)
    parser.add_argument("--restarts", type=int, default=RESTARTS, help=f"a multiple of {LOOKS * PER_ROUND}")
    restarts = parser.parse_args().restarts
    with launched(PRODUCT) as axon:
        axon.wait_for("launcher_ready")
        pids = {child: axon.wait_for("child_ready", child=child)["child_pid"] for child in PRODUCT}
        _wait_for_spares(axon)
        before = _show(axon.pid, 0)
        for look in range(LOOKS):
            for _ in range(restarts // LOOKS // PER_ROUND):
                _kill_each(axon, pids)
                _replace_all(axon, pids)
                axon.forget()
            after = _show(axon.pid, (look + 1) * restarts // LOOKS)
    is_clean = {**after, "rss_bytes": 0} == {**before, "rss_bytes": 0}
    return 0 if is_clean and after["rss_bytes"] - before["rss_bytes"] < MAX_GROWTH_BYTES else 1


def _kill_each(axon: Launched, pids: dict[str, int]) -> None:
    for child in PRODUCT:
        os.kill(pids[child], signal.SIGKILL)
        pids[child] = axon.wait_for("child_ready", child=child)["child_pid"]
        axon.wait_for("spare_ready", child=child)


def _replace_all(axon: Launched, pids: dict[str, int]) -> None:
    os.kill(axon.pid, signal.SIGHUP)
    for child in PRODUCT:
        pids[child] = axon.wait_for("child_ready", child=child)["child_pid"]
    _wait_for_spares(axon)


def _wait_for_spares(axon: Launched) -> None:
    for child in PRODUCT:
        axon.wait_for("spare_ready", child=child)


def _show(pid: int, restarts: int) -> dict[str, int]:
    """Print and return what the launcher holds, the least of some looks: it opens a file for a moment now and then."""
    looks = []
    for _ in range(LOOKS):
        looks.append(_holdings(pid))
        time.sleep(0.1)
    held = {name: min(look[name] for look in looks) for name in looks[0]}
    if not restarts:
        print(f"{'restarts':>12}" + "".join(f"{name:>14}" for name in held))
    print(f"{restarts:>12,}" + "".join(f"{value:>14,}" for value in held.values()), flush=True)
    return held


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
