"""`python -m tests.bench [--quick] [--only NAME]`: measure, print a table, write build/bench-ipc.json."""

import argparse
import importlib.util
import os
import platform
import sys
import time
from pathlib import Path

from tests.bench.measures import FULL, MEASURES, QUICK
from tests.bench.report import Result, as_json, as_table

OUTPUT = Path("build/bench-ipc.json")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a fifth of the time, and less to be relied upon")
    parser.add_argument("--only", choices=list(MEASURES), action="append", help="one measure; may be repeated")
    options = parser.parse_args()
    if importlib.util.find_spec("zmq") is None:
        print("pyzmq is missing: pip install --require-hashes -r requirements-bench.txt", file=sys.stderr)
        return 2
    machine = {
        "python": platform.python_version(),
        "kernel": platform.release(),
        "cpus": os.cpu_count(),
        "load_before": os.getloadavg(),
        "scale": "quick" if options.quick else "full",
    }
    results: list[Result] = []
    for name in options.only or MEASURES:
        began = time.monotonic()
        found = MEASURES[name](QUICK if options.quick else FULL)
        results += found
        print(f"{name}: {time.monotonic() - began:.1f} s", file=sys.stderr, flush=True)
    machine["load_after"] = os.getloadavg()
    print(as_table(results))
    print(f"Load average before and after: {machine['load_before'][0]:.1f}, {machine['load_after'][0]:.1f}")
    OUTPUT.parent.mkdir(exist_ok=True)
    OUTPUT.write_text(as_json(results, machine))
    return 0


if __name__ == "__main__":
    sys.exit(main())
