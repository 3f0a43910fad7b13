"""Process trees, on real processes below the test itself."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from multiprocessing.connection import wait

import psutil
import pytest

from launcher.process_trees import Figures, Reading, read_trees, uss_of

DEADLINE_S = 10.0
PR_SET_CHILD_SUBREAPER = 36
# Starts a grandchild that opens a file and sleeps; at a line on stdin it ends, and leaves the grandchild behind.
PARENT = """
import subprocess, sys
code = "import time; f = open('/dev/null'); print(flush=True); time.sleep(60)"
child = subprocess.Popen([sys.executable, "-c", code],
    stdout=subprocess.PIPE, start_new_session=True)
child.stdout.readline()
print(child.pid, flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def tree() -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A process with one descendant, whose pid comes second."""
    process = subprocess.Popen([sys.executable, "-c", PARENT], stdin=-1, stdout=-1, text=True)
    assert process.stdout is not None
    pid = int(process.stdout.readline())
    yield process, pid
    for doomed in (pid, process.pid):
        if psutil.pid_exists(doomed):
            psutil.Process(doomed).kill()
    process.wait(DEADLINE_S)
    process.stdout.close()
    if process.stdin is not None:
        process.stdin.close()


def test_a_tree_is_a_child_with_its_descendants(tree: tuple[subprocess.Popen[str], int]) -> None:
    process, descendant = tree

    reading = read_trees({"ui": process.pid}, {})["ui"]

    assert reading.root.pid == process.pid
    assert {each.pid for each in reading.processes} == {process.pid, descendant}
    assert all(figures.rss_bytes > 1 << 20 for figures in reading.processes.values())
    assert all(figures.threads == 1 and figures.fds >= 3 for figures in reading.processes.values())
    assert (uss_of(reading) or 0) > 1 << 20


def test_what_is_gone_or_not_ours_is_left_out(tree: tuple[subprocess.Popen[str], int]) -> None:
    process, descendant = tree
    process.kill()
    process.wait(DEADLINE_S)

    assert read_trees({"ui": process.pid, "server": 1}, {}) == {}
    assert psutil.pid_exists(descendant)


def test_a_reading_of_what_has_just_died_does_not_fail(tree: tuple[subprocess.Popen[str], int]) -> None:
    process, _descendant = tree
    reading = read_trees({"ui": process.pid}, {})["ui"]
    for each in reading.processes:
        pidfd = os.pidfd_open(each.pid)
        each.kill()
        assert wait([pidfd], DEADLINE_S)
        os.close(pidfd)
    assert read_trees({"ui": process.pid}, {"ui": reading}) == {}, "a zombie holds nothing"
    process.wait(DEADLINE_S)

    assert uss_of(reading) in (0, None)
    assert read_trees({"ui": process.pid}, {"ui": reading}) == {}


MIDDLE = """
import subprocess, sys
middle = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
print(middle.pid, middle.stdout.readline().decode().strip(), flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def adopting() -> Iterator[None]:
    """Be who adopts orphans below, as the launcher is."""
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1)
    yield
    libc.prctl(PR_SET_CHILD_SUBREAPER, 0)


@pytest.mark.usefixtures("adopting")
def test_an_orphan_stays_in_the_tree_that_it_was_in() -> None:
    process = subprocess.Popen([sys.executable, "-c", MIDDLE, PARENT], stdin=-1, stdout=-1, text=True)
    assert process.stdout is not None
    middle, orphan = map(int, process.stdout.readline().split())
    before = read_trees({"ui": process.pid}, {})
    assert {each.pid for each in before["ui"].processes} == {process.pid, middle, orphan}

    pidfd = os.pidfd_open(middle)
    psutil.Process(middle).kill()
    assert wait([pidfd], DEADLINE_S)
    os.close(pidfd)
    after = read_trees({"ui": process.pid}, before)

    assert orphan in {each.pid for each in after["ui"].processes}
    assert after["ui"].root.pid == process.pid
    psutil.Process(orphan).kill()
    process.communicate("\n", DEADLINE_S)
    os.waitpid(orphan, 0)


def reading(at_s: float, *cpu_s: float, pid_offset: int = 0) -> Reading:
    ancestors: Callable[[], list[psutil.Process]] = psutil.Process().parents
    processes = [psutil.Process(), *ancestors()][: len(cpu_s)]
    figures = [Figures(cpu_s=each, rss_bytes=1, threads=1, fds=1) for each in cpu_s]
    root = processes[pid_offset]
    return Reading(root=root, at_s=at_s, processes=dict(zip(processes, figures, strict=True)))


def test_cpu_is_what_was_used_since_the_reading_before() -> None:
    assert reading(15.0, 3.0).cpu_percent_since(reading(10.0, 2.0)) == 20.0
    assert reading(15.0, 2.0, 1.0).cpu_percent_since(reading(10.0, 2.0)) == 20.0, "a new process counts whole"
    assert reading(15.0, 2.0).cpu_percent_since(reading(10.0, 2.0, 9.0)) == 0.0, "one that ended does not count"
    assert reading(10.0, 2.0).cpu_percent_since(reading(10.0, 1.0)) == 0.0


def test_the_first_reading_is_told_since_the_start() -> None:
    """Another root means another process: what the old one had used does not count."""
    found = reading(10.0, 0.001, 0.001).cpu_percent_since(None)
    assert 0.0 <= found < 100.0
    other_root = reading(9.999, 0.0, 0.0, pid_offset=1)
    assert reading(10.0, 0.001, 0.001).cpu_percent_since(other_root) == pytest.approx(found, abs=0.2)
