"""Locks that are taken without waiting, and exceptions that come between taking one and knowing it.

A signal handler may raise between any two calls of the main thread: Ctrl-C does.
"""

import threading

_OTHERS_LET_GO_S = 1.0


def let_go(lock: threading.Lock) -> None:
    """Release `lock` if this thread may have taken it without knowing. Whoever else has it must be about to let go."""
    lock.acquire(timeout=_OTHERS_LET_GO_S)
    lock.release()
