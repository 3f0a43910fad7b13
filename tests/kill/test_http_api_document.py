"""The card reader of docs/http-api.md, run as it stands: each mark is recorded once, whoever is killed meanwhile."""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.kill.conftest import DEADLINE_S
from tests.kill.headless import Headless

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "http-api.md"


def documented_reader() -> str:
    (code,) = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    return str(code)


class Reader:
    """The documented reader as a process; `swipe` is what its hardware does."""

    def __init__(self, directory: Path, url: str) -> None:
        script = directory / "reader.py"
        script.write_text(documented_reader())
        self.queue = directory / "marks.db"
        self._errors = (directory / "errors").open("ab")
        self.process = subprocess.Popen(
            [sys.executable, str(script), url, str(self.queue)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
        )

    def swipe(self, *people: str) -> None:
        """Read cards, and wait until each is on the reader's disk: it beeps then."""
        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin is not None
        assert stdout is not None
        for person in people:
            stdin.write(f"{person}\n".encode())
            stdin.flush()
            assert stdout.readline() == f"noted: {person}\n".encode()

    def end(self) -> int:
        """Let it deliver what it has; return its exit code."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(DEADLINE_S)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(DEADLINE_S)
        for stream in (self.process.stdin, self.process.stdout, self._errors):
            if stream is not None:
                stream.close()


@pytest.fixture
def product(directory: Path) -> Iterator[Headless]:
    with Headless(directory) as product:
        yield product


@pytest.fixture
def start_reader(directory: Path, product: Headless) -> Iterator[Callable[[], Reader]]:
    readers: list[Reader] = []

    def start() -> Reader:
        readers.append(Reader(directory, product.url))
        return readers[-1]

    yield start
    for reader in readers:
        reader.kill()


def test_every_swipe_is_recorded_once_over_kills_of_the_server_and_of_the_reader(
    product: Headless, start_reader: Callable[[], Reader]
) -> None:
    people = [f"p{number}" for number in range(200)]
    reader = start_reader()
    for number, person in enumerate(people):
        if number % 60 == 20:
            product.kill_server()
        if number % 60 == 25:
            product.wait_for_server()
        if number == 100:
            reader.kill()
            reader = start_reader()
        reader.swipe(person)
    reader.swipe(people[-1])  # in doubt whether it was seen
    assert reader.end() == 0
    marks = product.recorded()
    assert sorted(mark["personId"] for mark in marks) == sorted(people)
    assert {mark["source"] for mark in marks} == {"door"}
    with closing(sqlite3.connect(reader.queue)) as queue:
        assert queue.execute("SELECT count(*) FROM queue").fetchone() == (0,)


def test_a_wrong_mark_does_not_hold_up_the_others(product: Headless, start_reader: Callable[[], Reader]) -> None:
    reader = start_reader()
    reader.swipe("a", "x" * 200, "b")
    assert reader.end() == 0
    assert [mark["personId"] for mark in product.recorded()] == ["a", "b"]
    assert "rejected" in (product.directory / "errors").read_text()


def test_a_byte_that_is_no_text_and_a_line_without_end_hold_up_nobody(
    product: Headless, start_reader: Callable[[], Reader]
) -> None:
    reader = start_reader()
    assert reader.process.stdin is not None
    reader.process.stdin.write(b"a\nbad\xff\n" + b"x" * (2 << 20) + b"\n\x00\nb\n")
    assert reader.end() == 0
    assert [mark["personId"] for mark in product.recorded()] == ["a", "bad\\xff", "b"]
    with closing(sqlite3.connect(reader.queue)) as queue:
        assert queue.execute("SELECT count(*) FROM queue").fetchone() == (0,)
        assert [number for (number,) in queue.execute("SELECT number FROM rejected")] == [3, 4]


def test_a_mark_for_which_the_server_refuses_the_whole_batch_is_found_and_set_aside(
    directory: Path, product: Headless, start_reader: Callable[[], Reader]
) -> None:
    people = [f"p{number}" for number in range(130)]
    marks = [json.dumps({"personId": person, "id": person}) for person in people]
    wrong = {
        0: '{"personId": "\\udcff"}',
        77: '{"personId": "1", "personId": "2", "unused": 1e999}',
        128: json.dumps({"personId": "x" * (2 << 20)}),
    }
    with closing(sqlite3.connect(directory / "marks.db", isolation_level=None)) as queue:
        queue.execute("CREATE TABLE queue (number INTEGER PRIMARY KEY AUTOINCREMENT, mark TEXT)")
        for number, mark in enumerate(marks):
            queue.execute("INSERT INTO queue (mark) VALUES (?)", (wrong.get(number, mark),))
    reader = start_reader()
    assert reader.end() == 0
    assert [mark["personId"] for mark in product.recorded()] == [p for n, p in enumerate(people) if n not in wrong]
    with closing(sqlite3.connect(reader.queue)) as queue:
        assert queue.execute("SELECT count(*) FROM queue").fetchone() == (0,)
        rejected = queue.execute("SELECT number - 1, substr(reason, 1, 3) FROM rejected ORDER BY number").fetchall()
    assert rejected == [(0, "400"), (77, "400"), (128, "413")]
