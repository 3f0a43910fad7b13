"""Who starts and who stops next, and how the time for stopping is shared."""

from __future__ import annotations

import pytest

from launcher.order import kill_at_s, next_to_start, next_to_stop
from launcher.policy_types import After, Child, State


def children(server: State, ui: State) -> dict[str, Child]:
    return {"server": Child(state=server), "ui": Child(state=ui)}


@pytest.mark.parametrize(
    ("server", "ui", "expected"),
    [
        (State.STOPPED, State.STOPPED, "server"),
        (State.STARTING, State.STOPPED, None),
        (State.BACKOFF, State.STOPPED, None),
        (State.RUNNING, State.STOPPED, "ui"),
        (State.FATAL, State.STOPPED, "ui"),
        (State.RUNNING, State.STARTING, None),
        (State.RUNNING, State.RUNNING, None),
    ],
)
def test_each_child_starts_once_all_before_it_have_settled(server: State, ui: State, expected: str | None) -> None:
    assert next_to_start(children(server, ui), frozenset()) == expected


def test_a_child_that_was_started_before_is_not_started_by_the_order() -> None:
    assert next_to_start(children(State.RUNNING, State.STOPPED), frozenset({"server", "ui"})) is None


@pytest.mark.parametrize(
    ("server", "ui", "expected"),
    [
        (State.RUNNING, State.RUNNING, "ui"),
        (State.RUNNING, State.BACKOFF, "ui"),
        (State.RUNNING, State.STOPPED, "server"),
        (State.STARTING, State.FATAL, "server"),
        (State.RUNNING, State.EXITED, "server"),
        (State.STOPPED, State.STOPPED, None),
        (State.RUNNING, State.STOPPING, None),
    ],
)
def test_each_child_stops_when_all_after_it_are_gone(server: State, ui: State, expected: str | None) -> None:
    assert next_to_stop(children(server, ui)) == expected


def test_a_child_in_the_middle_of_a_restart_is_asked_to_stop() -> None:
    restarting = {"ui": Child(state=State.STOPPING, after=After.START_AGAIN)}

    assert next_to_stop(restarting) == "ui"


def test_the_children_that_still_run_share_the_time_up_to_a_reserve() -> None:
    both = children(State.RUNNING, State.RUNNING)

    assert kill_at_s(both, 105.0, 100.0) == 102.25
    assert kill_at_s(children(State.RUNNING, State.STOPPED), 105.0, 102.3) == 104.5
    assert kill_at_s(both, 105.0, 106.0) == 106.0
