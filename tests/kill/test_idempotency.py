"""Requests that are repeated under their Idempotency-Key until they are answered: each is done once over kills."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.kill.conftest import DEADLINE_S
from tests.kill.headless import Headless

POSTERS = 4
MARKS_PER_LIFE = 40
ATTEMPTS = 100


@pytest.fixture
def product(directory: Path) -> Iterator[Headless]:
    # A cool-down would hide a mark that was recorded twice.
    with Headless(directory, "--cooldown-s", "0") as product:
        yield product


class Posters:
    """Threads that post marks without ids, each until it is answered. Use as a context manager."""

    def __init__(self, product: Headless) -> None:
        self._product = product
        self._is_ending = False
        self._answered = threading.Condition()
        self.answers: list[tuple[str, int, bytes]] = []
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(POSTERS)]

    def __enter__(self) -> Posters:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        """Let each get its last answer."""
        self._is_ending = True
        for thread in self._threads:
            thread.join()

    def wait_for(self, count: int) -> None:
        with self._answered:
            assert self._answered.wait_for(lambda: len(self.answers) >= count, DEADLINE_S)

    def _run(self, number: int) -> None:
        count = 0
        while not self._is_ending:
            count += 1
            person = f"{number}-{count}"
            status, body = self._post_until_answered(person)
            with self._answered:
                self.answers.append((person, status, body))
                self._answered.notify()

    def _post_until_answered(self, person: str) -> tuple[int, bytes]:
        headers = {"Content-Type": "application/json", "Idempotency-Key": f"key of {person}"}
        for _ in range(ATTEMPTS):
            with closing(self._product.connect()) as connection:
                try:
                    connection.request("POST", "/api/attendance", json.dumps({"personId": person}), headers)
                    answer = connection.getresponse()
                    return answer.status, answer.read()
                except (OSError, http.client.HTTPException):
                    pass  # it was killed with our request; the next connection waits for its successor
        return 0, b""


def test_a_request_that_is_repeated_under_its_key_is_done_once_over_kills(product: Headless) -> None:
    with Posters(product) as posters:
        for kills in range(1, 4):
            posters.wait_for(kills * MARKS_PER_LIFE)
            product.kill_server()
            product.wait_for_server()
    recorded = product.recorded()
    marks = {mark["personId"]: mark for mark in recorded}
    assert len(recorded) == len(marks) == len(posters.answers) >= 3 * MARKS_PER_LIFE
    assert {status for _, status, _ in posters.answers} <= {200, 201}
    assert all(json.loads(body) == marks[person] for person, _, body in posters.answers)
