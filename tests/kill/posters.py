"""Clients that post marks without a pause and write down what became of each."""

from __future__ import annotations

import http.client
import json
import threading
from urllib.parse import urlsplit

TIMEOUT_S = 60.0


class Posters:
    """Post from `start` to `finish`: some keep their connection, some make a new one for each mark."""

    def __init__(self, url: str, *, keeping: int = 2, connecting: int = 2) -> None:
        self._address = urlsplit(url).netloc
        self.answered: list[str] = []
        self.failed: list[str] = []
        self._finished = threading.Event()
        self._sending = [threading.Lock() for _ in range(keeping + connecting)]
        names = [f"k{number}" for number in range(keeping)] + [f"c{number}" for number in range(connecting)]
        self._threads = [
            threading.Thread(target=self._post_all, args=(name, sending), daemon=True)
            for name, sending in zip(names, self._sending, strict=True)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def finish(self, *, waits: bool = True) -> None:
        """Post no more; wait for the answers that are still to come, or leave that to another call.

        Whatever is posted has been sent when this returns: nobody is about to connect.
        """
        self._finished.set()
        for sending in self._sending:
            with sending:
                pass
        for thread in self._threads if waits else []:
            thread.join(TIMEOUT_S)

    def _post_all(self, name: str, sending: threading.Lock) -> None:
        connection = http.client.HTTPConnection(self._address, timeout=TIMEOUT_S)
        number = 0
        while not self._finished.is_set():
            number += 1
            person = f"{name}-{number}"
            try:
                with sending:
                    if self._finished.is_set():
                        break
                    _post(connection, person)
                status = _status(connection)
            except (OSError, http.client.HTTPException) as error:
                self.failed.append(f"{person}: {error!r}")
                connection.close()
            else:
                (self.answered if status == http.client.CREATED else self.failed).append(person)
            if name[0] == "c":
                connection.close()
        connection.close()


def _post(connection: http.client.HTTPConnection, person: str) -> None:
    body = json.dumps({"personId": person})
    connection.request("POST", "/api/attendance", body, {"Content-Type": "application/json"})


def _status(connection: http.client.HTTPConnection) -> int:
    answer = connection.getresponse()
    answer.read()
    return answer.status
