"""When a spare is spawned, on a fake clock."""

from __future__ import annotations

import pytest

from launcher.policy_types import Child, Limits, State
from launcher.spares import SpareBook
from launcher.stages import Stage

RUNNING = Child(state=State.RUNNING)
BOTH = {"server": RUNNING, "ui": RUNNING}


def children(server: State, ui: State) -> dict[str, Child]:
    return {"server": Child(state=server), "ui": Child(state=ui)}


def test_each_running_child_gets_one_spare_one_after_the_other() -> None:
    book = SpareBook()

    assert book.wanted(BOTH, {}, 1.0) == "server"
    assert book.wanted(BOTH, {"server": Stage.IMPORTING}, 1.0) is None, "two imports at a time take longer each"
    assert book.wanted(BOTH, {"server": Stage.IMPORTED}, 1.0) == "ui"
    assert book.wanted(BOTH, {"server": Stage.IMPORTED, "ui": Stage.IMPORTED}, 1.0) is None


@pytest.mark.parametrize("other", [State.STARTING, State.STOPPING])
def test_no_spare_takes_the_processor_from_a_child_that_starts_or_stops(other: State) -> None:
    assert SpareBook().wanted(children(State.RUNNING, other), {}, 1.0) is None
    assert SpareBook().deadline_s(children(State.RUNNING, other), {}, 1.0) is None


@pytest.mark.parametrize("state", [state for state in State if state is not State.RUNNING])
def test_only_a_child_that_runs_gets_a_spare(state: State) -> None:
    assert SpareBook().wanted({"server": Child(state=state)}, {}, 1.0) is None


def test_a_child_that_was_given_up_keeps_no_other_from_its_spare() -> None:
    for state in (State.FATAL, State.BACKOFF, State.EXITED):
        assert SpareBook().wanted(children(state, State.RUNNING), {}, 1.0) == "ui"


def test_spares_that_die_are_replaced_ever_more_slowly_and_the_others_do_not_wait() -> None:
    book = SpareBook()
    now = 100.0
    delays = []
    for _ in range(9):
        delays.append(book.note_death(("server", RUNNING), now, 1.0))
        assert book.wanted({"server": RUNNING}, {}, now + delays[-1] - 0.01) is None
        assert book.deadline_s({"server": RUNNING}, {}, now) == now + delays[-1]
        now += delays[-1]
        assert book.wanted({"server": RUNNING}, {}, now) == "server"

    assert delays == [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    book.note_death(("server", RUNNING), now, 1.0)
    assert book.wanted(BOTH, {}, now) == "ui"


def test_a_spare_that_was_warm_for_long_is_replaced_soon() -> None:
    book = SpareBook()
    for _ in range(5):
        book.note_death(("server", RUNNING), 100.0, 1.0)
    book.note_spawn("server", 200.0)
    book.note_import("server", 201.0)

    assert book.note_death(("server", RUNNING), 211.0, 1.0) == 0.25


def test_a_spare_that_dies_young_does_not_count_as_stable_though_an_earlier_one_was() -> None:
    book = SpareBook()
    book.note_spawn("server", 0.0)
    book.note_import("server", 1.0)
    book.note_spawn("server", 100.0)

    assert book.note_death(("server", RUNNING), 101.0, 1.0) == 0.25
    book.note_spawn("server", 102.0)
    assert book.note_death(("server", RUNNING), 103.0, 1.0) == 0.5


def test_a_spare_that_never_gets_through_its_imports_is_overdue() -> None:
    child = Child(state=State.RUNNING, limits=Limits(start_timeout_s=30.0))
    book = SpareBook()
    book.note_spawn("server", 100.0)
    importing = {"server": Stage.IMPORTING}

    assert book.overdue({"server": child}, importing, 129.9) is None
    assert book.deadline_s({"server": child}, importing, 129.9) == 130.0
    assert book.overdue({"server": child}, importing, 130.0) == "server"
    assert book.overdue({"server": child}, {"server": Stage.IMPORTED}, 130.0) is None


def test_time_alone_changes_nothing_when_everybody_has_a_spare() -> None:
    assert SpareBook().deadline_s(BOTH, {"server": Stage.IMPORTED, "ui": Stage.IMPORTED}, 1.0) is None
