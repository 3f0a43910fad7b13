"""A disk that is full, for real: a small file system of its own holds the state directory. Mounting one takes root."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from server_proc.disk_alarm import MIN_FREE_BYTES
from tests.kill.product import Product

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small file system")
BLOCK = b"x" * 4096


class SmallDisk:
    """A tmpfs of a few MB."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._ballast = path / "ballast"
        path.mkdir()
        subprocess.run(["/bin/mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(path)], check=True)

    def fill(self) -> None:
        """Leave not one block free."""
        descriptor = os.open(self._ballast, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            while True:
                os.write(descriptor, BLOCK)
        except OSError:
            pass  # full, as it should be
        finally:
            os.close(descriptor)

    def make_room(self) -> None:
        self._ballast.unlink()


@pytest.fixture
def disk(directory: Path) -> Iterator[SmallDisk]:
    small = SmallDisk(directory / "state")
    yield small
    # Lazily: the last process that was killed may still be letting go of it.
    subprocess.run(["/bin/umount", "--lazy", str(small.path)], check=True)


@pytest.fixture
def product(disk: SmallDisk) -> Iterator[Product]:
    running = Product(disk.path.parent)
    try:
        yield running.wait_until_ready()
    finally:
        running.clean_up()


def fill_until_refused(product: Product, disk: SmallDisk) -> list[str]:
    """Return who was marked with 201 before the first 507; there may be room left within SQLite's files."""
    accepted: list[str] = []
    while True:
        disk.fill()  # again: the log gives back what it could not finish
        person = f"p{len(accepted)}" + "x" * 100
        status, content_type, answer = product.post(json.dumps({"personId": person}).encode())
        if status == 507:
            assert content_type == "application/problem+json"
            assert "disk is full" in answer["detail"]
            return accepted
        assert status == 201
        accepted.append(person)


def test_a_full_disk_is_507_and_one_alarm_and_it_recovers_by_itself(product: Product, disk: SmallDisk) -> None:
    for again in ("again", "and again"):  # each episode has an alarm of its own
        stored = product.stored_people()
        accepted = fill_until_refused(product, disk)
        for _ in range(5):
            disk.fill()
            assert product.post_mark("refused" + "x" * 100) == 507
        assert product.wait_for("disk_full", proc="server")["free_bytes"] < MIN_FREE_BYTES
        assert product.stored_people() == stored + accepted

        disk.make_room()

        assert product.post_mark(again) == 201
        assert product.wait_for("disk_recovered", proc="server")["writes_refused"] == 6
        assert product.stored_people() == [*stored, *accepted, again]
    assert product.remaining("disk_full") == product.remaining("child_exited") == []


def test_a_server_that_is_killed_while_the_disk_is_full_is_back_and_has_lost_nothing(
    product: Product, disk: SmallDisk
) -> None:
    accepted = fill_until_refused(product, disk)
    os.kill(product.pids["server"], signal.SIGKILL)
    product.wait_for("child_exited", child="server")
    refused, answers = "refused" + "x" * 100, list[int]()
    poster = threading.Thread(target=lambda: answers.append(product.post_mark(refused)))
    poster.start()
    poster.join(5.0)  # it waits where the log was quicker to take what SQLite's own files gave up for a moment
    assert answers in ([507], [])
    disk.make_room()
    poster.join()
    assert product.post_mark("again") == 201
    assert product.stored_people() == [*accepted, *([refused] if answers == [201] else []), "again"]
