"""The whole product as a real process: `run.py` with its server and its ui, offscreen."""

from __future__ import annotations

import http.client
import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ipc import SocketClient
from ipc.authkey import key_path, load_key
from tests.kill.conftest import DEADLINE_S, Launched

RUN = Path(__file__).resolve().parents[2] / "run.py"
HTTP_TIMEOUT_S = DEADLINE_S


class Product(Launched):
    """A running Axon. The log is read as JSON at level debug."""

    def __init__(self, directory: Path, *options: str, environment: dict[str, str] | None = None) -> None:
        self.directory = directory
        self.socket = directory / "a.sock"
        self.state = directory / "state"
        paths = ["--socket", str(self.socket), "--state-dir", str(self.state), "--port", "0"]
        self.process = subprocess.Popen(
            [sys.executable, str(RUN), *paths, "--ui", "offscreen", "--log-level", "debug", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            env={name: value for name, value in os.environ.items() if not name.startswith("AXON_")}
            | (environment or {}),
        )
        self._events = []
        self._rest = b""
        self.everything_said = b""
        self.pids: dict[str, int] = {}
        self.url = ""

    def wait_until_ready(self) -> Product:
        for child in ("server", "ui"):
            self.pids[child] = self.wait_for("child_ready", child=child)["child_pid"]
        self.url = self.wait_for("launcher_ready")["url"]
        self.wait_for("snapshot_loaded")
        return self

    def post_mark(self, person: str) -> int:
        """POST a mark; return the status."""
        return self.post(json.dumps({"personId": person}).encode())[0]

    def post(self, body: bytes, headers: dict[str, str] | None = None) -> tuple[int, str, dict[str, Any]]:
        """POST to /api/attendance; return status, content type and decoded body."""
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=HTTP_TIMEOUT_S)
        try:
            headers = {"Content-Type": "application/json"} if headers is None else headers
            connection.request("POST", "/api/attendance", body, headers)
            response = connection.getresponse()
            return response.status, response.headers["Content-Type"], json.loads(response.read())
        finally:
            connection.close()

    def stored_people(self) -> list[str]:
        """Return whom the marks in the database are of, in their order."""
        with closing(sqlite3.connect(self.state / "attendance.db")) as database:
            return [person for (person,) in database.execute("SELECT person_id FROM marks ORDER BY mark_seq")]

    def client(self, name: str) -> SocketClient:
        """Return a client of the data plane, not started yet."""
        return SocketClient(str(self.socket), authkey=load_key(key_path(str(self.socket))), name=name)
