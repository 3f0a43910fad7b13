"""Fault points: off by default, one strike when asked for, a clear word for a wrong setting."""

import os
import signal
import subprocess
import sys

import pytest

from server_proc.fault_points import VARIABLE, Fault, reach

REACHES = "from server_proc.fault_points import reach\nfor n in range(5): reach('after_commit'); print(n, flush=True)"


def test_nothing_happens_by_default():
    assert VARIABLE not in os.environ
    reach("after_commit")


@pytest.mark.parametrize(
    "text",
    ["", "after_commit", "nowhere:SIGKILL:1", "after_commit:KILL:1", "after_commit:SIGKILL:x", "after_commit:SIGKILL:"],
)
def test_a_wrong_setting_is_named(text):
    with pytest.raises(ValueError, match=r"must be <before_commit\|after_commit\|after_announce>:<signal>:<nth>"):
        Fault(text)


def test_it_strikes_at_the_nth_time_and_nowhere_else():
    for point, died_at in (("after_commit", 3), ("before_commit", None)):
        environment = os.environ | {VARIABLE: f"{point}:SIGKILL:{died_at or 1}"}
        done = subprocess.run([sys.executable, "-c", REACHES], env=environment, capture_output=True, timeout=30)
        assert done.returncode == (0 if died_at is None else -signal.SIGKILL)
        assert len(done.stdout.splitlines()) == (5 if died_at is None else died_at - 1)
