"""Patience: waits that come one after the other share one time."""

from ipc import patience as patience_module
from ipc.patience import Patience


class Clock:
    def __init__(self):
        self.now = 5.0

    def monotonic(self):
        return self.now


def test_each_wait_is_cut_to_what_the_others_have_left(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(patience_module, "time", clock)
    patience = Patience(1.0)
    assert patience.at_most(0.25) == 0.25
    clock.now += 0.875
    assert patience.at_most(0.25) == 0.125
    clock.now += 0.875
    assert patience.at_most(0.25) == 0.0
