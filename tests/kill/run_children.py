"""A launcher of tiny children: run.py with other children and, if asked for, other limits.

`python run_children.py --children '{"server": "steady"}' --limits '{"stable_s": 0}' <options of run.py>`

Tiny at import like run.py, because every spawned child imports it again as its main module.
"""

import sys

PREPARE = ("accepting", "works_once", "never_prepared", "server_proc.main:run")
"""Entries that wait while their predecessor still works."""


def main() -> int:
    """Launch functions of `tests.kill.children`, or entries given in full."""
    import argparse
    import json
    from pathlib import Path

    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

    import msgspec

    from launcher.cli import main as launcher_main
    from launcher.policy_types import Limits
    from launcher.spec import ChildSpec

    parser = argparse.ArgumentParser()
    parser.add_argument("--children", type=json.loads, required=True)
    parser.add_argument("--limits", default=Limits(), type=lambda text: msgspec.json.decode(text, type=Limits))
    ours, rest = parser.parse_known_args()
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


if __name__ == "__main__":
    sys.exit(main())
