"""Telling the process that has opened something from a copy of it that fork() has made.

A copy has the sockets and none of the threads: what it sent would go out in its original's name, and what it closed or
removed would be gone for its original. `multiprocessing` forks unless the program chooses otherwise.
"""

import os

generation = 0
"""How many forks lie between the first process and this one. Whoever opens something notes it, and compares."""


def _count() -> None:
    global generation
    generation += 1


os.register_at_fork(after_in_child=_count)
