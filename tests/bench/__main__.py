"""`python -m tests.bench [channel] [recovery] [start]`: measure, print tables, write build/bench-*.json.

Without a name all of them are run, which takes some minutes.
"""

import argparse
import importlib.util
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.bench import recovery, start
from tests.bench.measures import FULL, MEASURES, QUICK
from tests.bench.report import Result, as_json, as_table

BUILD = Path("build")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("benches", nargs="*", metavar="BENCH", help=f"any of {', '.join(BENCHES)}; all by default")
    parser.add_argument("--quick", action="store_true", help="a fifth of the time, and less to be relied upon")
    parser.add_argument("--only", choices=list(MEASURES), action="append", help="channel: one measure; may be repeated")
    parser.add_argument("--kills", type=int, default=10, help="recovery: kills of each contestant")
    parser.add_argument("--starts", type=int, default=5, help="start: how many")
    options = parser.parse_args()
    unknown = [name for name in options.benches if name not in BENCHES]
    if unknown:
        parser.error(f"there is no bench {unknown[0]!r}; choose any of {', '.join(BENCHES)}")
    BUILD.mkdir(exist_ok=True)
    for name in options.benches or BENCHES:
        BENCHES[name](options)
    return 0


def run_channel(options: argparse.Namespace) -> None:
    if importlib.util.find_spec("zmq") is None:
        sys.exit("pyzmq is missing: pip install --no-deps --require-hashes -r requirements-bench.txt")
    machine = _machine() | {"scale": "quick" if options.quick else "full"}
    results: list[Result] = []
    for name in options.only or MEASURES:
        began = time.monotonic()
        found = MEASURES[name](QUICK if options.quick else FULL)
        results += found
        _say(f"{name}: {time.monotonic() - began:.1f} s")
    _finish(as_table(results), "bench-ipc.json", lambda: as_json(results, machine), machine)


def run_recovery(options: argparse.Namespace) -> None:
    machine = _machine()
    found = recovery.measure(max(3, options.kills // 3) if options.quick else options.kills, _say)
    text = {"machine": machine} | recovery.as_dict(found)
    _finish(recovery.as_table(found), "bench-recovery.json", lambda: json.dumps(text, indent=1) + "\n", machine)


def run_start(options: argparse.Namespace) -> None:
    machine = _machine()
    results = start.measure(max(2, options.starts // 2) if options.quick else options.starts)
    _finish(as_table(results), "bench-start.json", lambda: as_json(results, machine), machine)


def _finish(table: str, name: str, text: Callable[[], str], machine: dict[str, Any]) -> None:
    machine["load_after"] = os.getloadavg()
    print(table)
    print(f"Load average before and after: {machine['load_before'][0]:.1f}, {machine['load_after'][0]:.1f}\n")
    (BUILD / name).write_text(text())


def _machine() -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "kernel": platform.release(),
        "cpus": os.cpu_count(),
        "load_before": os.getloadavg(),
    }


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


BENCHES: dict[str, Callable[[argparse.Namespace], None]] = {
    "channel": run_channel,
    "recovery": run_recovery,
    "start": run_start,
}

if __name__ == "__main__":
    sys.exit(main())
