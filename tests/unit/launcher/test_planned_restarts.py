"""Planned restarts step by step: facts and times go in, steps come out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.planned_restarts import Abandon, PlannedRestarts, Prepare, Replace, SpawnSuccessor, Step
from launcher.policy_types import Child, State
from launcher.stages import Stage


class Planned:
    """Restarts of a server whose successors prepare, and of a ui whose do not; with a clock."""

    def __init__(self, *names: str) -> None:
        self.restarts = PlannedRestarts(["server"])
        self.states = {"server": State.RUNNING, "ui": State.RUNNING}
        self.stages: dict[str, Stage] = {}
        self.now = 100.0
        for name in names:
            self.restarts.add(name)

    def step(self) -> Step | None:
        children = {name: Child(state=state) for name, state in self.states.items()}
        return self.restarts.next_step(children, self.stages, self.now)

    def bring_to(self, stage: Stage, name: str) -> None:
        """Have the successor of a child spawned and come to a stage."""
        assert self.step() == SpawnSuccessor(name)
        self.stages[name] = stage

    def replaced(self, name: str) -> None:
        """Go through the states that a replacement goes through."""
        for state in (State.STOPPING, State.STARTING):
            self.states[name] = state
            assert self.step() is None
        self.states[name] = State.RUNNING
        self.stages.pop(name, None)


def test_a_server_is_stopped_only_once_its_successor_has_prepared() -> None:
    it = Planned("server")
    assert it.step() == SpawnSuccessor("server")
    it.stages["server"] = Stage.IMPORTING
    assert it.step() is None
    it.stages["server"] = Stage.IMPORTED
    assert it.step() == Prepare("server")
    it.stages["server"] = Stage.PREPARING
    assert it.step() is None
    it.stages["server"] = Stage.PREPARED
    assert it.step() == Replace("server")
    it.replaced("server")
    assert it.step() is None
    assert it.restarts.deadline_s is None


def test_a_spare_is_no_successor_since_it_has_imported_what_may_have_changed() -> None:
    it = Planned("server")
    it.stages["server"] = Stage.IMPORTED
    assert it.step() == SpawnSuccessor("server")


def test_the_children_are_restarted_one_after_the_other() -> None:
    it = Planned("server", "ui")
    it.bring_to(Stage.PREPARED, "server")
    assert it.step() == Replace("server")
    it.replaced("server")
    it.bring_to(Stage.IMPORTED, "ui")
    assert it.step() == Replace("ui"), "a child that does not prepare has only to be imported"
    it.replaced("ui")
    assert it.step() is None


@pytest.mark.parametrize("state", [State.STOPPED, State.BACKOFF, State.EXITED, State.FATAL, State.STARTING])
def test_where_nobody_works_there_is_nobody_to_wait_for(state: State) -> None:
    it = Planned("server")
    it.states["server"] = state
    assert it.step() == Replace("server")


def test_a_successor_that_takes_too_long_leaves_the_one_that_works() -> None:
    it = Planned("server", "ui")
    it.bring_to(Stage.IMPORTING, "server")
    assert it.step() is None
    assert it.restarts.deadline_s == 130.0
    it.now = 130.0
    assert it.step() == Abandon("server", "its successor was not ready within 30 s")
    assert it.step() == SpawnSuccessor("ui")


def test_a_restart_that_is_abandoned_from_outside_makes_room_for_the_next() -> None:
    it = Planned("server", "ui")
    it.bring_to(Stage.PREPARING, "server")
    assert it.step() is None
    assert it.restarts.is_waiting_for("server")
    assert it.restarts.abandon("it died") == Abandon("server", "it died")
    assert not it.restarts.is_waiting_for("server")
    assert it.step() == SpawnSuccessor("ui")


def test_a_child_that_dies_meanwhile_starts_again_as_after_any_death() -> None:
    it = Planned("server", "ui")
    it.bring_to(Stage.PREPARING, "server")
    it.states["server"] = State.BACKOFF
    assert it.step() == SpawnSuccessor("ui")


@pytest.mark.parametrize("state", [State.BACKOFF, State.FATAL])
def test_a_successor_that_crashes_is_the_policys_and_ends_the_restart(state: State) -> None:
    it = Planned("server")
    it.bring_to(Stage.PREPARED, "server")
    it.step()
    it.states["server"] = state
    assert it.step() is None
    assert it.restarts.deadline_s is None


def test_asked_twice_before_it_begins_is_one_restart_and_asked_again_later_is_another() -> None:
    it = Planned("server", "server")
    it.bring_to(Stage.PREPARED, "server")
    it.step()
    it.restarts.add("server")
    it.restarts.add("server")
    it.replaced("server")
    it.bring_to(Stage.PREPARED, "server")
    assert it.step() == Replace("server")
    it.replaced("server")
    assert it.step() is None


def test_nothing_is_left_to_do_after_a_clear() -> None:
    it = Planned("server", "ui")
    it.step()
    it.restarts.clear()
    assert it.step() is None
    assert it.restarts.deadline_s is None


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["server", "ui"]),
            st.sampled_from(list(State)),
            st.sampled_from([None, *Stage]),
            st.booleans(),
            st.floats(0, 20),
        )
    )
)
def test_whatever_happens_every_restart_comes_to_an_end(
    course: list[tuple[str, State, Stage | None, bool, float]],
) -> None:
    """After any course of events: let time pass and everything go well, and the queue is empty and nothing is due."""
    it = Planned()
    for name, state, stage, is_asked, after_s in course:
        it.states[name] = state
        it.stages = {other: of for other, of in {**it.stages, name: stage}.items() if of is not None}
        if is_asked:
            it.restarts.add(name)
        it.now += after_s
        it.step()
    it.states = {"server": State.RUNNING, "ui": State.RUNNING}
    it.stages = {"server": Stage.PREPARED, "ui": Stage.PREPARED}
    for _ in range(10):
        it.step()
        it.now += 30.0
    assert it.step() is None
    assert it.restarts.deadline_s is None


def test_it_is_under_way_until_nothing_is_left_to_do() -> None:
    restarts = PlannedRestarts(["server"])
    assert not restarts.is_under_way
    restarts.add("server")
    assert restarts.is_under_way
    restarts.clear()
    assert not restarts.is_under_way
