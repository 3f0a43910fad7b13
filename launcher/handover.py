"""What a spawned child inherits: descriptors, and signals that wait.

Owns a picklable holder, so that a descriptor can stand among a Process's arguments. Used on both sides.
"""

from __future__ import annotations

import os
import signal
from multiprocessing import reduction
from typing import Any

TERMINAL_SIGNALS = frozenset({signal.SIGINT, signal.SIGHUP})
"""A terminal sends them to the launcher and the children alike; they are the launcher's to act on."""


class InheritedFd:
    """Holds a descriptor; pickled for a child that is being spawned, the child gets its own copy."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._descriptor

    def close(self) -> None:
        """Close the descriptor; closing twice does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __reduce__(self) -> tuple[Any, tuple[Any]]:
        return _inherit, (reduction.DupFd(self._descriptor),)


def _inherit(duplicate: Any) -> InheritedFd:
    descriptor = duplicate.detach()
    keep_from_grandchildren(descriptor)
    return InheritedFd(descriptor)


def keep_from_grandchildren(descriptor: int) -> None:
    """Undo what spawning did to a descriptor: a program that the child starts has no business with it."""
    os.set_inheritable(descriptor, False)
