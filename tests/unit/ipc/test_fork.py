"""Telling a forked process from its original."""

import os

from ipc import fork


def test_a_fork_knows_that_it_is_one_and_its_original_that_it_is_none():
    before = fork.generation
    pid = os.fork()
    if pid == 0:
        os._exit(fork.generation - before)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 1
    assert fork.generation == before
