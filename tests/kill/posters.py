"""Clients that post marks without a pause and write down what became of each."""

from __future__ import annotations

import http.client
import json
import threading
from urllib.parse import urlsplit

TIMEOUT_S = 15.0


class Posters:
    """Post from `start` to `finish`: some keep their connection, some make a new one for each mark."""

    def __init__(self, url: str, *, keeping: int = 2, connecting: int = 2) -> None:
        self._address = urlsplit(url).netloc
        self.answered: list[str] = []
        self.failed: list[str] = []
        self._finished = threading.Event()
        self._threads = [
            threading.Thread(target=self._post_all, args=(f"{kind}{number}", kind == "k"), daemon=True)
            for kind, count in (("k", keeping), ("c", connecting))
            for number in range(count)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def finish(self, *, waits: bool = True) -> None:
        """Post no more; wait for the answers that are still to come, or leave that to another call."""
        self._finished.set()
        for thread in self._threads if waits else []:
            thread.join(TIMEOUT_S)

    def _post_all(self, name: str, keeps: bool) -> None:
        connection = http.client.HTTPConnection(self._address, timeout=TIMEOUT_S)
        number = 0
        while not self._finished.is_set():
            number += 1
            person = f"{name}-{number}"
            try:
                status = _post(connection, person)
            except (OSError, http.client.HTTPException) as error:
                self.failed.append(f"{person}: {error!r}")
                connection.close()
            else:
                (self.answered if status == http.client.CREATED else self.failed).append(person)
            if not keeps:
                connection.close()
        connection.close()


def _post(connection: http.client.HTTPConnection, person: str) -> int:
    body = json.dumps({"personId": person})
    connection.request("POST", "/api/attendance", body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    answer.read()
    return answer.status
