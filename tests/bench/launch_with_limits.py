"""run.py with the product's own children and other limits, so that they may be killed more often than an hour allows.

`python -m tests.bench.launch_with_limits '{"stable_s": 0.5}' <options of run.py>`

Tiny at import like run.py, because every spawned child imports it again as its main module.
"""

import sys


def main() -> int:
    import msgspec

    from launcher.cli import main as launcher_main
    from launcher.policy_types import Limits
    from launcher.spec import CHILDREN

    limits = msgspec.json.decode(sys.argv[1], type=Limits)
    return launcher_main(sys.argv[2:], tuple(msgspec.structs.replace(spec, limits=limits) for spec in CHILDREN))


if __name__ == "__main__":
    sys.exit(main())
