"""A launcher of tiny children: run.py with other children and, if asked for, other limits.

`python run_children.py --children '{"server": "steady"}' --limits '{"stable_s": 0}' <options of run.py>`

Tiny at import like run.py, because every spawned child imports it again as its main module.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

PREPARE = ("accepting", "works_once", "never_prepared", "server_proc.main:run")
"""Entries that wait while their predecessor still works."""


def main() -> int:
    """Launch functions of `tests.kill.children`, or entries given in full."""
    import argparse
    import json
    from pathlib import Path

    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

    import msgspec

    from launcher import sampling, supervisor
    from launcher.cli import main as launcher_main
    from launcher.policy_types import Limits
    from launcher.spec import ChildSpec

    parser = argparse.ArgumentParser()
    parser.add_argument("--children", type=json.loads, required=True)
    parser.add_argument("--limits", default=Limits(), type=lambda text: msgspec.json.decode(text, type=Limits))
    parser.add_argument("--sample-every-s", type=float)
    parser.add_argument("--stop-within-s", type=float)
    parser.add_argument("--sees-deaths-late", metavar="FILE")
    parser.add_argument("--loop-sticks-at-sighup", action="store_true")
    ours, rest = parser.parse_known_args()
    if ours.sample_every_s:
        sampling.INTERVAL_S = ours.sample_every_s
    if ours.stop_within_s:
        supervisor.STOP_TIMEOUT_S = ours.stop_within_s
    if ours.sees_deaths_late:
        see_deaths_late(Path(ours.sees_deaths_late))
    if ours.loop_sticks_at_sighup:
        stick_at_sighup()
    specs = tuple(
        ChildSpec(
            name=name,
            entry=entry if ":" in entry else f"tests.kill.children:{entry}",
            takes_sockets=name == "server",
            prepares=entry in PREPARE,
            quits_tree=name == "ui",
            limits=ours.limits,
        )
        for name, entry in ours.children.items()
    )
    return launcher_main(rest, specs)


def see_deaths_late(file: Path) -> None:
    """Have the supervisor's loop wait for `file` when a death has woken it, before it does anything about that."""
    import os
    import threading

    from launcher import supervisor

    wait = supervisor.wait

    def wait_and_hold(descriptors: list[int], timeout_s: float | None) -> list[Any]:
        ready = wait(descriptors, timeout_s)
        kinds = [os.readlink(f"/proc/self/fd/{descriptor}") for descriptor in ready]
        while "anon_inode:[pidfd]" in kinds and not file.exists():
            threading.Event().wait(0.01)
        return ready

    supervisor.wait = wait_and_hold


def stick_at_sighup() -> None:
    """Have the supervisor's loop stand still at SIGHUP, while all other threads go on."""
    import threading

    from launcher.supervisor import Supervisor

    Supervisor._on_signal = lambda _self, _number: threading.Event().wait()  # type: ignore


if __name__ == "__main__":
    sys.exit(main())
