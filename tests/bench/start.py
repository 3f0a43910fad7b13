"""From the command to `launcher_ready`, against what its children's imports cost in interpreters of their own."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.bench.report import Result, Series, median_ratio

ROOT = Path(__file__).resolve().parents[2]
READY_WITHIN_S = 30.0
ENTRIES = ("server_proc.main", "ui_proc.main")


def measure(rounds: int) -> list[Result]:
    """Take turns between a launch and the bare imports; the first round warms the disk up and does not count."""
    launches: list[float] = []
    imports: dict[str, list[float]] = {entry: [] for entry in ENTRIES}
    for number in range(rounds + 1):
        ready_ms = _launch_ms()
        bare_ms = {entry: _import_ms(entry) for entry in ENTRIES}
        if number:
            launches.append(ready_ms)
            for entry in ENTRIES:
                imports[entry].append(bare_ms[entry])
    sums = [sum(each) for each in zip(*imports.values(), strict=True)]
    series = [
        Series("command to launcher_ready", "ms", launches),
        *(Series(f"python -c 'import {entry}'", "ms", took_ms) for entry, took_ms in imports.items()),
        Series("sum of these imports", "ms", sums),
        Series("launcher_ready / sum", "", [round(median_ratio(launches, sums), 3)]),
    ]
    return [Result(f"Start, {rounds} times", series)]


def _launch_ms() -> float:
    with tempfile.TemporaryDirectory(prefix="axon-bench-") as directory:
        paths = ["--socket", f"{directory}/a.sock", "--state-dir", f"{directory}/state", "--port", "0"]
        command = [sys.executable, "run.py", *paths, "--ui", "offscreen", "--log-format", "json"]
        began_s = time.monotonic()
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, env=_environment()) as process:
            assert process.stdout is not None
            try:
                for line in process.stdout:
                    if json.loads(line)["event"] == "launcher_ready":
                        return (time.monotonic() - began_s) * 1000
                    if time.monotonic() - began_s > READY_WITHIN_S:
                        break
            finally:
                process.send_signal(signal.SIGTERM)
                process.stdout.read()
    raise RuntimeError(f"not ready within {READY_WITHIN_S} s")


def _import_ms(entry: str) -> float:
    began_s = time.monotonic()
    subprocess.run([sys.executable, "-c", f"import {entry}"], cwd=ROOT, env=_environment(), check=True)
    return (time.monotonic() - began_s) * 1000


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("AXON_")}
