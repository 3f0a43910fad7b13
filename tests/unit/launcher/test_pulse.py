"""The number that a child writes and the launcher reads."""

from __future__ import annotations

import math
import multiprocessing

from launcher.pulse import Pulse


def test_it_is_silent_at_first_and_then_keeps_the_last_beat() -> None:
    pulse = Pulse()

    assert pulse.last_s() is None
    for at_s in (1.5, 1e9 + 0.25, math.pi):
        pulse.beat(at_s)
        assert pulse.last_s() == at_s
    pulse.close()
    pulse.close()
    assert pulse.last_s() is None


def beat(pulse: Pulse) -> None:
    pulse.beat(42.0)


def test_a_spawned_process_writes_into_the_same_memory() -> None:
    pulse = Pulse()
    process = multiprocessing.get_context("spawn").Process(target=beat, args=(pulse,))
    process.start()
    process.join()
    process.close()

    assert pulse.last_s() == 42.0
    pulse.close()
