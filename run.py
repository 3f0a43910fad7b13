"""The command line: `python run.py` launches; `python run.py --help` says what else there is.

Tiny at import, because every spawned child imports it again as its main module.
"""

if __name__ == "__main__":
    import sys

    from launcher.cli import main

    sys.exit(main())
