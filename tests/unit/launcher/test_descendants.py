"""Whose descendant a process is, and its end. Each test is a launcher of plain processes."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from launcher.descendants import Descendants
from launcher.sweep import mark_of

ROOT = Path(__file__).resolve().parents[3]

REAPING = """
import os, subprocess
from launcher.descendants import Descendants

class Orphaning:
    def start(self):
        script = "/usr/bin/env -i /usr/bin/setsid /bin/sh -c 'echo $$; exec /bin/sleep 60' &"
        self.process = subprocess.Popen(["/bin/sh", "-c", script], stdout=subprocess.PIPE)
        self.pid = self.process.pid

descendants = Descendants()
descendants.become_reaper()
process = Orphaning()
mark = descendants.start(process)
orphan = int(process.process.stdout.readline())
process.process.wait()
assert os.path.exists(f"/proc/{orphan}")
descendants.bury(mark)
while os.path.exists(f"/proc/{orphan}"):
    descendants.tend()
"""


def sleep_for_ever() -> None:
    signal.pause()


def start(descendants: Descendants) -> tuple[Any, int]:
    process = multiprocessing.get_context("fork").Process(target=sleep_for_ever, daemon=True)
    return process, descendants.start(process)


@pytest.fixture
def descendants() -> Any:
    descendants = Descendants()
    yield descendants
    assert descendants.sweep(10.0)


def test_each_child_has_a_mark_of_its_own_and_the_launcher_none(descendants: Descendants) -> None:
    (first, first_mark), (second, second_mark) = start(descendants), start(descendants)

    assert (mark_of(first.pid), mark_of(second.pid), mark_of(os.getpid())) == (first_mark, second_mark, 0)
    assert first_mark != second_mark
    assert {first_mark, second_mark} <= set(range(descendants.marks.start, descendants.marks.start + 10))
    for process in (first, second):
        process.kill()
        process.join()
        process.close()


def test_two_launches_share_no_mark() -> None:
    first, second = Descendants().marks, Descendants().marks
    assert first.stop <= second.start or second.stop <= first.start


def test_the_childs_own_death_is_left_to_whoever_asks_for_its_status(descendants: Descendants) -> None:
    process, mark = start(descendants)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)

    descendants.tend()

    process.join()
    assert process.exitcode == -signal.SIGKILL
    process.close()
    descendants.bury(mark)


def test_an_orphan_is_adopted_killed_and_reaped() -> None:
    """In a process of its own, since whoever becomes a reaper stays one."""
    ran = subprocess.run([sys.executable, "-c", REAPING], cwd=ROOT, capture_output=True, timeout=30, check=False)
    assert (ran.returncode, ran.stderr) == (0, b"")


def test_what_is_shared_is_no_childs_and_survives_the_sweep(descendants: Descendants) -> None:
    with descendants.shared():
        helper = subprocess.Popen(["/bin/sleep", "60"])
    try:
        assert mark_of(helper.pid) == descendants.marks.start
        assert descendants.sweep(10.0)
        assert helper.poll() is None
    finally:
        helper.kill()
        helper.wait()


def test_without_marks_children_start_all_the_same(descendants: Descendants, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_limit: int, _values: tuple[int, int]) -> None:
        raise ValueError("not allowed to raise maximum limit")

    monkeypatch.setattr(resource, "setrlimit", refuse)
    process, mark = start(descendants)
    process.kill()
    process.join()
    process.close()
    descendants.bury(mark)


def test_without_a_descriptor_to_look_with_it_looks_at_the_next_death(descendants: Descendants) -> None:
    process, mark = start(descendants)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, before[1]))
    try:
        with capture_logs() as logged:
            found, is_gone = descendants.tend(), descendants.sweep(10.0)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)

    assert (found, is_gone) == ([], False)
    assert {event["event"] for event in logged} == {"descendants_unseen"}
    process.kill()
    process.join()
    process.close()
    descendants.bury(mark)
