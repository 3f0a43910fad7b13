"""An Axon of one's own for a measurement: started with raised limits, read through its log, ended by pid."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PROGRAM = Path(__file__).parents[1] / "kill" / "run_children.py"
PRODUCT = {"server": "server_proc.main:run", "ui": "ui_proc.main:run"}
TIRELESS = {"stable_s": 0.0, "intensity": 1_000_000, "period_s": 1.0}
"""Limits under which every death counts as one after a stable run, however many there are."""
DEADLINE_S = 30.0
END_WITHIN_S = 10.0

Event = dict[str, Any]


class Launched:
    """A launcher and its log. Events are kept until they are asked for."""

    def __init__(self, directory: Path, children: dict[str, str], *options: str) -> None:
        self.socket = directory / "a.sock"
        command = [sys.executable, str(PROGRAM), "--children", json.dumps(children), "--limits", json.dumps(TIRELESS)]
        paths = ["--socket", str(self.socket), "--state-dir", str(directory / "state"), "--port", "0"]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AXON_")}
        self._process = subprocess.Popen(
            [*command, *paths, "--ui", "offscreen", "--log-format", "json", *options],
            stdout=subprocess.PIPE,
            env=environment,
        )
        self.pid = self._process.pid
        self._events: list[Event] = []
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, name="log-reader", daemon=True)
        self._reader.start()

    def wait_for(self, name: str, timeout_s: float = DEADLINE_S, **keys: Any) -> Event:
        """Return the next event of this name with these keys, each event at most once. Raises TimeoutError."""
        deadline_s = time.monotonic() + timeout_s
        with self._changed:
            while (found := self._take(name, keys)) is None:
                if not self._changed.wait(deadline_s - time.monotonic()):
                    raise TimeoutError(f"no {name} {keys} within {timeout_s} s")
            return found

    def forget(self) -> None:
        """Drop the events that nobody has asked for."""
        with self._changed:
            self._events.clear()

    def end(self) -> None:
        """Stop it in order; kill what does not stop."""
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(END_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(END_WITHIN_S)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _take(self, name: str, keys: dict[str, Any]) -> Event | None:
        for index, event in enumerate(self._events):
            if event["event"] == name and keys.items() <= event.items():
                return self._events.pop(index)
        return None

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._changed:
                self._events.append(json.loads(line))
                self._changed.notify_all()


@contextmanager
def launched(children: dict[str, str], *options: str) -> Iterator[Launched]:
    """Launch in a directory with a short name, since a socket's path has to fit into 107 bytes."""
    directory = Path(tempfile.mkdtemp(prefix="axon-b-"))
    running = Launched(directory, children, *options)
    try:
        yield running
    finally:
        running.end()
        shutil.rmtree(directory)
