"""SIGKILL of a supervised server to the first HTTP 200 of its successor, with several supervisors in one run.

Ours runs the whole product, ui included; the others a server that is hardly more than waitress, which favours them.
A client makes a new connection every 2 ms from the server's death on; what is refused or reset is a failed poll.
"""

import http.client
import os
import select
import signal
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from tests.bench.report import Target, percentile
from tests.bench.supervisors import Supervised, ask, contestants, running

POLL_EVERY_S = 0.002
SETTLE_S = 2.0  # longer than what each of them takes for a stable run, and time for a spare to get warm
GIVE_UP_S = 30.0
COLUMNS = ("supervisor", "p50 ms", "p95 ms", "worst ms", "failed polls", "refused", "kills")


@dataclass
class Recovery:
    """What one supervisor did at each kill."""

    supervisor: str
    took_ms: list[float] = field(default_factory=list)
    refused: int = 0
    reset: int = 0

    @property
    def failed(self) -> int:
        return self.refused + self.reset


def measure(kills: int, say: Any = lambda _text: None) -> list[Recovery]:
    """Kill the server of each contestant so many times."""
    recoveries = []
    for contestant in contestants():
        began_s = time.monotonic()
        recovery = Recovery(contestant.name)
        with (
            tempfile.TemporaryDirectory(prefix="axon-bench-") as directory,
            running(contestant, Path(directory)) as supervised,
        ):
            for _ in range(kills):
                time.sleep(SETTLE_S)
                _kill_once(supervised, recovery)
        recoveries.append(recovery)
        say(f"recovery, {contestant.name}: {time.monotonic() - began_s:.1f} s")
    return recoveries


def _kill_once(supervised: Supervised, recovery: Recovery) -> None:
    pid = supervised.server_pid()
    pidfd = os.pidfd_open(pid)
    try:
        began_s = time.monotonic()
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        select.select([pidfd], [], [], GIVE_UP_S)  # what is answered from here on, its successor answers
    finally:
        os.close(pidfd)
    while not _poll(supervised, recovery):
        if time.monotonic() - began_s > GIVE_UP_S:
            raise RuntimeError(f"{recovery.supervisor}: no answer within {GIVE_UP_S} s")
        time.sleep(POLL_EVERY_S)
    recovery.took_ms.append((time.monotonic() - began_s) * 1000)


def _poll(supervised: Supervised, recovery: Recovery) -> bool:
    try:
        return ask(supervised, GIVE_UP_S) == http.client.OK
    except ConnectionRefusedError:
        recovery.refused += 1
    except (OSError, http.client.HTTPException):
        recovery.reset += 1
    return False


def targets(recoveries: list[Recovery]) -> list[Target]:
    """Return what was promised of ours, as far as it took part."""
    by_name = {recovery.supervisor: recovery for recovery in recoveries}
    found = []
    if warm := by_name.get("this launcher, warm spares"):
        found.append(Target("warm spares, p50 ms", median(warm.took_ms), 20.0))
        found.append(Target("warm spares, p95 ms", percentile(warm.took_ms, 95), 50.0))
    if cold := by_name.get("this launcher, --no-spares") or by_name.get("this launcher"):
        found.append(Target("without spares, p95 ms", percentile(cold.took_ms, 95), 250.0))
    ours = [recovery for recovery in recoveries if recovery.supervisor.startswith("this launcher")]
    return [*found, Target("refused connections, this launcher", sum(recovery.refused for recovery in ours), 0)]


def as_table(recoveries: list[Recovery]) -> str:
    rows = [
        (
            recovery.supervisor,
            f"{median(recovery.took_ms):.1f}",
            f"{percentile(recovery.took_ms, 95):.1f}",
            f"{max(recovery.took_ms):.1f}",
            f"{recovery.failed:,}",
            f"{recovery.refused:,}",
            str(len(recovery.took_ms)),
        )
        for recovery in recoveries
    ]
    widths = [max(len(row[index]) for row in (COLUMNS, *rows)) for index in range(len(COLUMNS))]
    lines = ["SIGKILL of the server to the first HTTP 200"]
    for name, *cells in (COLUMNS, *rows):
        lines.append("    " + "  ".join([name.ljust(widths[0]), *map(str.rjust, cells, widths[1:])]))
    return "\n".join([*lines, *(f"  > {target}" for target in targets(recoveries)), ""])


def as_dict(recoveries: list[Recovery]) -> dict[str, Any]:
    return {
        "recoveries": [
            asdict(each)
            | {"p50_ms": median(each.took_ms), "p95_ms": percentile(each.took_ms, 95), "failed": each.failed}
            for each in recoveries
        ],
        "targets": [asdict(target) | {"is_met": target.is_met} for target in targets(recoveries)],
    }
