"""Letting go of a lock that was perhaps taken."""

import threading

from ipc import locks
from ipc.locks import let_go
from tests.unit.ipc.channel import WITHIN_S


def test_a_lock_that_is_ours_is_free_afterwards(monkeypatch):
    monkeypatch.setattr(locks, "_OTHERS_LET_GO_S", 0.01)
    lock = threading.Lock()
    lock.acquire()
    let_go(lock)
    assert not lock.locked()


def test_a_lock_that_is_anothers_is_waited_for(monkeypatch):
    monkeypatch.setattr(locks, "_OTHERS_LET_GO_S", WITHIN_S)
    lock = threading.Lock()
    lock.acquire()
    other = threading.Timer(0.05, lock.release)
    other.start()
    let_go(lock)
    other.join()
    assert not lock.locked()
