"""Ties a child to its launcher, before the child has imported anything that takes time.

Owns the kernel's promise to kill the child with the launcher's main thread. Imports next to nothing, because a child
is untied until this module is loaded: a launcher that is killed right after a spawn must leave nobody behind.
"""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import sys
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from launcher.child import Birth

_PR_SET_PDEATHSIG = 1


class Leash:
    """Fastens the process that unpickles it. Put it first among a Process's arguments."""

    def __init__(self, launcher_pid: int) -> None:
        self.launcher_pid = launcher_pid

    def __reduce__(self) -> tuple[Any, tuple[int]]:
        return _fasten, (self.launcher_pid,)


def main(_leash: Leash, birth: Birth) -> NoReturn:
    """Run the child. The target of its Process: what is heavy is imported by unpickling `birth`, leash fastened."""
    from launcher import child

    child.main(birth)


def _fasten(launcher_pid: int) -> Leash:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != launcher_pid:
        # It died before the request to the kernel, which therefore has nobody to wait for.
        os._exit(1)
    _hasten_imports()
    return Leash(launcher_pid)


def _hasten_imports() -> None:
    """Spare the child a third of the time that it takes until everything is imported; `child` undoes the first half."""
    gc.disable()  # nothing of what is being loaded is garbage
    # structlog.dev imports rich where it finds it, for tracebacks in colour. A child writes JSON.
    sys.modules["rich"] = None  # type: ignore[assignment]
