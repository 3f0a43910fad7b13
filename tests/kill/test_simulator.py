"""`run.py simulate` against the whole product, while its server dies."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from server_proc.simulator import READERS
from tests.kill.conftest import DEADLINE_S
from tests.kill.product import RUN, Product


@pytest.fixture
def product(directory: Path) -> Iterator[Product]:
    running = Product(directory)
    try:
        yield running.wait_until_ready()
    finally:
        running.clean_up()


def simulate(product: Product, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(RUN), "simulate", "--socket", str(product.socket), *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def counts(output: str) -> dict[str, int]:
    first = output.splitlines()[0]
    return {word: int(number) for word, number in re.findall(r"(\w+) (\d+)", first)}


def test_no_mark_is_lost_or_doubled_while_the_server_is_killed(product: Product) -> None:
    simulation = simulate(product, "--rate", "60", "--for", "6s", "--people", "1000", "--seed", "1")
    for _ in range(2):
        product.wait_for("request_handled", route="/api/attendance", status=201)
        os.kill(product.pids["server"], signal.SIGKILL)
        product.pids["server"] = product.wait_for("child_ready", child="server")["child_pid"]
    out, err = simulation.communicate(timeout=60)

    assert (simulation.returncode, err) == (0, "")
    said = counts(out)
    assert said["failed"] == 0
    assert said["sent"] == said["accepted"] > 200
    people = product.stored_people()
    assert len(people) == said["accepted"]
    assert len(set(people)) == len(people)  # 1000 people, and nobody comes twice


def test_a_duplicate_is_one_that_was_planned_however_few_people_there_are(product: Product) -> None:
    out, err = simulate(product, "--rate", "60", "--for", "2s", "--people", "5").communicate(timeout=60)
    assert err == ""
    said = counts(out)
    assert (said["duplicate"], said["accepted"]) == (0, said["sent"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_sigterm_end_it_with_the_summary(product: Product, number: signal.Signals) -> None:
    simulation = simulate(product, "--rate", "50", "--for", "1h")
    for _ in range(READERS + 1):  # so one of the readers has had an answer
        product.wait_for("request_handled", route="/api/attendance", status=201)
    simulation.send_signal(number)
    out, _err = simulation.communicate(timeout=DEADLINE_S)
    assert simulation.returncode == 0
    assert counts(out)["accepted"] >= 1
    assert "p50" in out
