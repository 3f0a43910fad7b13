"""The processes in waiting, with a process table that is only imagined."""

from __future__ import annotations

from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from ipc.child import ChildSettings
from launcher.errors import SettingsError
from launcher.pipe_words import Accept, Stop
from launcher.policy_types import Child, State
from launcher.process import ExitStatus
from launcher.reserve import Means, Reserve
from launcher.spec import CHILDREN, SERVER, ChildSpec
from launcher.stages import Stage

SETTINGS = ChildSettings(name="server", run_id="r", socket="s", control_socket="c", url="u", state_dir="d")


class Spare:
    name = "server"
    pid = 4711
    setup_failure = ""

    def __init__(self) -> None:
        self.stage = Stage.IMPORTING
        self.told: list[object] = []

    def command(self, word: object) -> None:
        self.told.append(word)

    def prepare(self, settings: ChildSettings) -> None:
        self.told.append(settings)
        self.stage = Stage.PREPARING


class Table:
    """Stands in for the process table; `failure` is what the next spawns raise."""

    def __init__(self) -> None:
        self.spares: dict[str, Spare] = {}
        self.failure: Exception | None = None

    def spawn(self, spec: ChildSpec, **_how: bool) -> None:
        if self.failure is not None:
            raise self.failure
        self.spares[spec.name] = Spare()

    def spare(self, name: str) -> Spare | None:
        return self.spares.get(name)

    def discard_spare(self, name: str) -> None:
        self.spares.pop(name, None)


class Staged:
    def __init__(self, *, keeps_spares: bool = True, state: State = State.RUNNING) -> None:
        self.table = Table()
        self.replaced: list[str] = []
        self.reserve = Reserve(
            Means(
                specs={"server": SERVER},
                children={"server": Child(state=state)},
                processes=cast(Any, self.table),
                settings=lambda _name: SETTINGS,
                replace=self.replaced.append,
                keeps_spares=keeps_spares,
            )
        )

    @property
    def spare(self) -> Spare:
        return self.table.spares["server"]

    def tend(self, now: float = 1.0) -> None:
        while self.reserve.tend(now):
            if self.replaced:
                return

    def advance(self, stage: Stage) -> None:
        self.spare.stage = stage
        self.reserve.advanced(cast(Any, self.spare), 1.0)


def test_a_running_child_gets_a_spare_unless_spares_are_not_wanted() -> None:
    it, without = Staged(), Staged(keeps_spares=False)
    it.tend()
    without.tend()
    assert (list(it.table.spares), list(without.table.spares)) == (["server"], [])


@pytest.mark.parametrize("failure", [OSError("no descriptors left"), SettingsError("--port: taken")])
def test_a_spare_that_cannot_be_had_is_tried_again_later(failure: Exception) -> None:
    it = Staged()
    it.table.failure = failure
    with capture_logs() as logs:
        it.tend()
    assert [entry["event"] for entry in logs] == ["spare_failed"]
    it.table.failure = None
    deadline_s = it.reserve.deadline_s(1.0)
    assert deadline_s is not None
    assert 1.125 <= deadline_s <= 1.25
    it.tend(deadline_s - 0.01)
    assert it.table.spares == {}
    it.tend(deadline_s)
    assert list(it.table.spares) == ["server"]


def test_a_restart_spawns_prepares_and_replaces_also_without_spares() -> None:
    it = Staged(keeps_spares=False)
    it.reserve.plan_restarts(["server"])
    it.tend()
    it.advance(Stage.IMPORTED)
    it.tend()
    assert it.spare.told == [SETTINGS]
    assert it.replaced == []
    it.advance(Stage.PREPARED)
    it.tend()
    assert it.replaced == ["server"]


def test_what_waits_for_its_first_start_is_not_restarted_ahead_of_its_turn() -> None:
    it = Staged(state=State.STOPPED)
    it.reserve.plan_restarts(["server"])
    it.tend()
    assert it.replaced == []
    assert not it.reserve.is_restarting


def test_a_successor_that_fails_ends_the_restart_with_its_reason() -> None:
    it = Staged()
    it.reserve.plan_restarts(["server"])
    it.tend()
    it.spare.setup_failure = "the configuration is wrong"
    dead = it.table.spares.pop("server")
    with capture_logs() as logs:
        it.reserve.exited(cast(Any, dead), ExitStatus(exit_code=78), 1.0)
    assert logs[-1]["event"] == "restart_abandoned"
    assert logs[-1]["reason"] == "its successor failed: the configuration is wrong"
    it.tend(100.0)
    assert it.replaced == []


def test_only_a_successor_that_is_prepared_is_let_in() -> None:
    it = Staged()
    it.reserve.released("server")
    it.tend()
    it.advance(Stage.IMPORTED)
    it.reserve.released("server")
    assert it.spare.told == []
    it.advance(Stage.PREPARED)
    it.reserve.released("server")
    assert it.spare.told == [Accept()]


def test_at_the_end_whoever_has_requests_is_asked_to_stop_and_then_killed() -> None:
    it = Staged()
    it.tend()
    it.advance(Stage.PREPARED)
    it.reserve.released("server")
    it.reserve.dissolve()
    assert it.spare.told[-1] == Stop()
    it.reserve.dissolve(kills_all=True)
    assert it.table.spares == {}


def test_at_the_end_a_spare_is_killed() -> None:
    it = Staged()
    it.tend()
    it.reserve.dissolve()
    assert it.table.spares == {}


def test_what_waits_for_its_first_start_is_not_called_a_spare() -> None:
    it = Staged(state=State.STOPPED)
    it.reserve.spawn("server", 1.0)
    with capture_logs() as logs:
        it.advance(Stage.IMPORTED)
    assert logs == []


def test_an_import_that_takes_too_long_is_given_up() -> None:
    it = Staged()
    it.tend()
    first = it.spare
    it.tend(31.0)
    assert it.table.spares == {}
    it.tend(32.0)
    assert it.spare is not first


def test_the_products_server_prepares_and_its_ui_does_not() -> None:
    assert [spec.prepares for spec in CHILDREN] == [True, False]
