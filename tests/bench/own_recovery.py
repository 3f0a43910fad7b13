"""How soon after a kill this product answers again, its ui is live and its window is painted.

`python -m tests.bench.own_recovery [--kills N]` prints a table and writes JSON.

Kills happen one at a time, each when the child is ready and, where there are spares, its spare is.
"""

import argparse
import datetime
import json
import os
import sys
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from tests.bench.launched import PRODUCT, Launched, launched
from tests.bench.poller import Poller
from tests.bench.report import percentile

OUTPUT = Path("build/bench-own-recovery.json")
KILLS = 50
UI_KILLS = 10
BEFORE_S = 0.05
AFTER_S = 0.05
STABLE_S = 1.2
"""A connection that did not last for a second counts as a failed attempt with the client, which then pauses."""
_pause = threading.Event()


@dataclass
class Recovery:
    """What one contestant did over all kills; times in milliseconds from the kill."""

    contestant: str
    answered_ms: list[float] = field(default_factory=list)
    """To the first HTTP 200 of a connection made after the kill."""
    ui_live_ms: list[float] = field(default_factory=list)
    """To the ui's channel being live again, as the ui says itself."""
    window_ms: list[float] = field(default_factory=list)
    """To the first paint of a new window, after a kill of the ui."""
    refused_polls: int = 0
    broken_polls: int = 0


def measure(kills: int = KILLS, ui_kills: int = UI_KILLS) -> list[Recovery]:
    """Return how this launcher recovers, with spares and without."""
    return [
        _measure("Axon, warm spares", kills, ui_kills),
        _measure("Axon, --no-spares", kills, ui_kills, "--no-spares"),
    ]


def _measure(contestant: str, kills: int, ui_kills: int, *options: str) -> Recovery:
    found = Recovery(contestant)
    has_spares = "--no-spares" not in options
    with launched(PRODUCT, "--log-level", "debug", *options) as axon:
        pids = {child: axon.wait_for("child_ready", child=child)["child_pid"] for child in PRODUCT}
        address = urlsplit(axon.wait_for("launcher_ready")["url"])
        host = (address.hostname or "", address.port or 0)
        for child in PRODUCT:
            _settle(axon, child, has_spares)
        for _ in range(kills):
            pids["server"] = _kill_server(axon, pids["server"], host, found)
            _settle(axon, "server", has_spares)
        for _ in range(ui_kills):
            pids["ui"] = _kill_ui(axon, pids["ui"], found)
            _settle(axon, "ui", has_spares)
    return found


def _settle(axon: Launched, child: str, has_spares: bool) -> None:
    """Wait until the child that is ready has run stably in everybody's eyes, and has its spare."""
    if has_spares:
        axon.wait_for("spare_ready", child=child)
    _pause.wait(STABLE_S)


def _kill_server(axon: Launched, pid: int, host: tuple[str, int], found: Recovery) -> int:
    poller = Poller(host)
    poller.start()
    _pause.wait(BEFORE_S)
    axon.forget()
    killed_at = time.time()
    killed_s = poller.kill(pid)
    live = axon.wait_for("connection_changed", proc="ui", channel="ui", state="live")
    successor = axon.wait_for("child_ready", child="server")
    poller.wait_for_answer(30.0)
    _pause.wait(AFTER_S)
    polls = poller.finish()
    answered_s = polls.first_answer_after(killed_s)
    assert answered_s is not None
    found.answered_ms.append((answered_s - killed_s) * 1000)
    found.ui_live_ms.append((_at(live["timestamp"]) - killed_at) * 1000)
    found.refused_polls += len(polls.refused)
    found.broken_polls += len(polls.broken)
    return int(successor["child_pid"])


def _kill_ui(axon: Launched, pid: int, found: Recovery) -> int:
    axon.forget()
    killed_at = time.time()
    os.kill(pid, 9)
    successor = axon.wait_for("child_ready", child="ui")
    found.window_ms.append((_at(successor["timestamp"]) - killed_at) * 1000)
    axon.wait_for("connection_changed", proc="ui", channel="ui", state="live")
    return int(successor["child_pid"])


def _at(timestamp: str) -> float:
    return datetime.datetime.fromisoformat(timestamp).timestamp()


def as_table(recoveries: list[Recovery]) -> str:
    """Return the table that people read."""
    columns = ("kill to ... (ms)", "kills", "200 p50", "200 p95", "ui live p50", "window p50", "refused", "broken")
    rows = [columns, *(_row(each) for each in recoveries)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(columns))]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)


def _row(each: Recovery) -> tuple[str, ...]:
    def figure(values: list[float], percent: float) -> str:
        return f"{percentile(values, percent):.1f}" if values else "-"

    return (
        each.contestant,
        str(len(each.answered_ms)),
        figure(each.answered_ms, 50),
        figure(each.answered_ms, 95),
        figure(each.ui_live_ms, 50),
        figure(each.window_ms, 50),
        str(each.refused_polls),
        str(each.broken_polls),
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.own_recovery", description=__doc__)
    parser.add_argument("--kills", type=int, default=KILLS)
    options = parser.parse_args()
    recoveries = measure(options.kills, min(options.kills, UI_KILLS))
    print(as_table(recoveries))
    OUTPUT.parent.mkdir(exist_ok=True)
    OUTPUT.write_text(json.dumps([asdict(each) for each in recoveries], indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
