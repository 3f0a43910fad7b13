"""What the thread beside a child's main thread takes for a reason to stop."""

from __future__ import annotations

import signal

import pytest

from launcher.lifeline import asks_to_stop


@pytest.mark.parametrize(
    ("wakes", "expected"),
    [
        (bytes([signal.SIGTERM]), True),
        (bytes([signal.SIGUSR1, signal.SIGTERM]), True),
        (b"\0", True),
        (bytes([signal.SIGUSR1, signal.SIGCHLD, signal.SIGALRM]), False),
    ],
)
def test_only_sigterm_and_late_callbacks_do(wakes: bytes, expected: bool) -> None:
    assert asks_to_stop(wakes) is expected
