"""The command line: `python run.py` launches; `python run.py --help` says what else there is.

Tiny at import, because every spawned child imports it again as its main module.
"""

if __name__ == "__main__":
    import signal
    import sys

    # Until the launcher catches signals itself they wait, so that Ctrl-C is an orderly stop from the first moment on.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
    # structlog imports rich where it finds it, for tracebacks in colour, and every status would wait for that.
    sys.modules.setdefault("rich", None)  # type: ignore[arg-type]
    try:
        from launcher.cli import main
    except ModuleNotFoundError as error:
        sys.exit(f"axon: {error}; run `make run` once, or use .venv/bin/python")
    sys.exit(
        main(
            commands={
                "devices": ("server_proc.cli:devices", "Add, list or revoke the keys of devices on other machines."),
                "simulate": ("server_proc.cli:simulate", "Post marks to a running instance, as card readers would."),
            }
        )
    )
