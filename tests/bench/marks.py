"""`python -m tests.bench.marks [--quick] [--only NAME]`: the speed of marks; a table, and build/bench-marks.json.

Servers and load are processes of their own. What is compared takes turns within a round, and ratios are formed within
a round: what else the machine does meanwhile disturbs both.
"""

import argparse
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.bench.processes import Child, children
from tests.bench.report import Result, Series, Target, as_json, as_table, median_ratio, percentile

OUTPUT = Path("build/bench-marks.json")
EMPTY = "tests.bench.contestants.web:EmptyRoute"
OUR_EMPTY = "tests.bench.contestants.web:OurEmptyRoute"
MARKS = "tests.bench.contestants.web:MarksServer"
LOAD = "tests.bench.http_load:Load"
POST_MARK, POST_EMPTY = "/api/attendance", "/empty"
MANY = 100_000


@dataclass(frozen=True)
class Scale:
    """How much is done of each thing."""

    rounds: int
    round_s: float
    paced: int
    fills: int


FULL = Scale(rounds=7, round_s=2.0, paced=1500, fills=9)
QUICK = Scale(rounds=3, round_s=1.0, paced=300, fills=2)


def post_rate(scale: Scale) -> list[Result]:
    """Durable marks against an empty route, by how many clients post at once."""
    results = []
    with children((MARKS,), (EMPTY,), (OUR_EMPTY,), (LOAD,)) as [marks, empty, our_empty, load]:
        targets = ((marks.call("port"), POST_MARK), *((each.call("port"), POST_EMPTY) for each in (empty, our_empty)))
        for connections in (1, 16, 64):
            rates: list[list[float]] = [[], [], []]
            for number in range(scale.rounds + 1):
                for which in ((0, 1, 2), (2, 1, 0))[number % 2]:
                    rate = load.call("post", targets[which], connections, scale.round_s)
                    if number:  # the first round warms up
                        rates[which].append(rate)
            names = ("durable marks", "empty Flask route on waitress", "empty Flask route on our HttpServer")
            series = [Series(name, "/s", each) for name, each in zip(names, rates, strict=True)]
            series.append(Series("marks / empty route on our HttpServer", "x", [median_ratio(rates[0], rates[2])]))
            ratio = Target("marks / empty route on waitress", median_ratio(rates[0], rates[1]), 0.7, is_at_most=False)
            title = f"POST, {connections} keep-alive clients"
            results.append(Result(title, series, [ratio] if connections == 16 else []))
    return results


def latency(scale: Scale) -> list[Result]:
    """From POST to the row acknowledged by a client of the channel, at 100 marks a second."""
    with children((MARKS,), (LOAD,)) as [marks, load]:
        target, address = (marks.call("port"), POST_MARK), marks.call("socket")
        load.call("paced", target, address, 50, 100)  # everything warm
        times = load.begin("paced", target, address, scale.paced, 100).result(scale.paced / 100 + 60)
        acks = marks.call("acks")
    acked = [min(at for seq, at in acks if seq >= mark_seq) for mark_seq in times["seqs"]]
    spans = {"answered": times["answered"], "handled by the client": times["handled"], "acknowledged": acked}
    series, targets = [], []
    for name, moments in spans.items():
        took_ms = [1000 * (end - begin) for begin, end in zip(times["sent"], moments, strict=True)]
        p50, p99 = percentile(took_ms, 50), percentile(took_ms, 99)
        series += [Series(f"POST to {name}", "ms p50", [p50]), Series(f"POST to {name}", "ms p99", [p99])]
        if name == "acknowledged":
            targets = [Target("p50 ms", p50, 10), Target("p99 ms", p99, 40)]
    return [Result("100 marks/s, one by one", series, targets)]


def snapshot(scale: Scale) -> list[Result]:
    """How soon a ui that starts has 10,000 marks."""
    with children((MARKS,), (LOAD,)) as [marks, load]:
        marks.call("fill", 20_000)
        took_ms = [1000 * took_s for took_s in load.call("snapshot", marks.call("socket"), 10_000, 3 * scale.rounds)]
    series = Series("a ui's 10,000 marks, by pages", "ms", took_ms)
    return [Result("Snapshot", [series], [Target("ms", series.median, 200)])]


def growth(scale: Scale) -> list[Result]:
    """The same with an almost empty table and with a million marks in it."""
    rates: list[float] = []
    snapshots: list[float] = []

    def measure(marks: Child, load: Child) -> None:
        target = (marks.call("port"), POST_MARK)
        rates.append(max(load.call("post", target, 16, scale.round_s) for _ in range(3)))
        snapshots.append(min(load.call("snapshot", marks.call("socket"), 500, 20)) * 1000)

    with children((MARKS,), (LOAD,)) as [marks, load]:
        load.call("post", (marks.call("port"), POST_MARK), 16, scale.round_s)  # everything warm
        marks.begin("fill", MANY).result()
        measure(marks, load)
        for _ in range(scale.fills):
            marks.begin("fill", MANY).result()
        measure(marks, load)
    title = f"Growth from {MANY:,} to {MANY * (1 + scale.fills):,} marks"
    series = [Series("durable marks, 16 clients", "/s", rates), Series("snapshot of 500", "ms", snapshots)]
    targets = [
        Target("rate, last / first", rates[1] / rates[0], 0.85, is_at_most=False),
        Target("snapshot, last / first", snapshots[1] / snapshots[0], 1.25),
    ]
    return [Result(title, series, targets)]


MEASURES: dict[str, Callable[[Scale], list[Result]]] = {
    "post-rate": post_rate,
    "latency": latency,
    "snapshot": snapshot,
    "growth": growth,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.marks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a fifth of the time, and less to be relied upon")
    parser.add_argument("--only", choices=list(MEASURES), action="append", help="one measure; may be repeated")
    options = parser.parse_args()
    machine = {
        "python": platform.python_version(),
        "kernel": platform.release(),
        "cpus": os.cpu_count(),
        "load_before": os.getloadavg(),
        "scale": "quick" if options.quick else "full",
    }
    results: list[Result] = []
    with tempfile.TemporaryDirectory(prefix="axon-b-") as directory:
        os.environ["TMPDIR"] = directory  # of the servers, which are killed and clean nothing up
        for name in options.only or MEASURES:
            began = time.monotonic()
            results += MEASURES[name](QUICK if options.quick else FULL)
            print(f"{name}: {time.monotonic() - began:.1f} s", file=sys.stderr, flush=True)
    machine["load_after"] = os.getloadavg()
    print(as_table(results))
    OUTPUT.parent.mkdir(exist_ok=True)
    OUTPUT.write_text(as_json(results, machine))
    return 0


if __name__ == "__main__":
    sys.exit(main())
