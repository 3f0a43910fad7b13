"""The product without its ui: a server that is killed, and what it has recorded."""

from __future__ import annotations

import http.client
import json
import os
import signal
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.kill.product import HTTP_TIMEOUT_S, Product

PAGE_MARKS = 50


class Headless(Product):
    """A running Axon with `--ui none`. Use as a context manager.

    Kill it at most four times: after the fifth within a minute the launcher gives the server up.
    """

    def __init__(self, directory: Path, *options: str) -> None:
        super().__init__(directory, "--ui", "none", *options)

    def __enter__(self) -> Headless:
        self.wait_for_server()
        self.url = self.wait_for("launcher_ready")["url"]
        return self

    def __exit__(self, *_exception: object) -> None:
        self.clean_up()

    def kill_server(self) -> None:
        os.kill(self.pids["server"], signal.SIGKILL)
        self.wait_for("child_exited", child="server")

    def wait_for_server(self) -> None:
        self.pids["server"] = self.wait_for("child_ready", child="server")["child_pid"]

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=HTTP_TIMEOUT_S)

    def recorded(self) -> list[dict[str, Any]]:
        """Return every mark, by the cursor."""
        marks: list[dict[str, Any]] = []
        after_seq = 0
        with closing(self.connect()) as connection:
            while True:
                connection.request("GET", f"/api/attendance?limit={PAGE_MARKS}&after_seq={after_seq}")
                page = json.loads(connection.getresponse().read())
                marks += page["marks"]
                after_seq = page["nextAfterSeq"]
                if len(page["marks"]) < PAGE_MARKS:
                    return marks
