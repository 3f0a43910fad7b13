"""What a launch changes in its process for good, which here is the process of the tests."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@pytest.fixture(autouse=True)
def signal_handlers() -> Iterator[None]:
    """Put the handlers back that a launch leaves ignoring: Ctrl-C is to end the tests."""
    before = {number: signal.getsignal(number) for number in HANDLED}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
