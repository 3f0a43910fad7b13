"""The whole tree as a state machine: policy, order and planned restarts over processes that are only imagined.

Whatever happens to them, there is no state that the tree cannot leave: everybody runs again after a restart, and
nobody runs after a stop.
"""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from launcher.order import kill_at_s, next_to_start, next_to_stop
from launcher.planned_restarts import Abandon, PlannedRestarts, Prepare, Replace, SpawnSuccessor
from launcher.policy_types import (
    Action,
    BecameReady,
    Event,
    Exited,
    FellSilent,
    KillRequested,
    RestartRequested,
    SendSignal,
    Start,
    StartRequested,
    State,
    StopRequested,
    Ticked,
)
from launcher.process import ExitStatus
from launcher.roster import Roster
from launcher.spares import SpareBook
from launcher.spec import CHILDREN
from launcher.stages import Stage

NAMES = st.sampled_from([spec.name for spec in CHILDREN])
NEXT_STAGE = {Stage.IMPORTING: Stage.IMPORTED, Stage.PREPARING: Stage.PREPARED}


class Tree(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.roster = Roster(CHILDREN)
        self.restarts = PlannedRestarts(spec.name for spec in CHILDREN if spec.prepares)
        self.book = SpareBook()
        self.alive: set[str] = set()
        self.killed: set[str] = set()
        self.stages: dict[str, Stage] = {}
        self.settle()

    # What the supervisor does.

    def feed(self, name: str, event: Event) -> None:
        for action in self.roster.apply(name, event, self.now):
            self.perform(name, action)

    def perform(self, name: str, action: Action) -> None:
        if isinstance(action, Start):
            assert name not in self.alive, "never two incarnations"
            self.alive.add(name)
            self.stages.pop(name, None)
            self.roster.note_start(name, 1, self.now)
        elif action == SendSignal("SIGKILL"):
            self.killed.add(name)

    def settle(self) -> None:
        for _ in range(100):
            if not self.advance():
                return
        raise AssertionError("the supervisor would spin")

    def advance(self) -> bool:
        children = self.roster.children
        if (name := next_to_start(children, self.roster.started)) is not None:
            self.feed(name, StartRequested())
            return True
        match self.restarts.next_step(children, self.stages, self.now):
            case SpawnSuccessor(name):
                self.stages[name] = Stage.IMPORTING
                self.book.note_spawn(name, self.now)
            case Prepare(name):
                self.stages[name] = Stage.PREPARING
            case Replace(name):
                self.feed(name, RestartRequested())
            case Abandon(name):
                self.stages.pop(name, None)
            case None:
                return self.keep_spares()
        return True

    def keep_spares(self) -> bool:
        children = self.roster.children
        if (late := self.book.overdue(children, self.stages, self.now)) is not None:
            self.lose_spare(late)
            return True
        wanted = self.book.wanted(children, self.stages, self.now)
        if wanted is not None:
            self.stages[wanted] = Stage.IMPORTING
            self.book.note_spawn(wanted, self.now)
        return wanted is not None

    def lose_spare(self, name: str) -> None:
        self.stages.pop(name)
        self.book.note_death((name, self.roster.children[name]), self.now, 1.0)
        if self.restarts.is_waiting_for(name):
            self.restarts.abandon("it died")

    def die(self, name: str, exited: Exited) -> None:
        self.alive.discard(name)
        self.killed.discard(name)
        self.roster.note_exit(name, ExitStatus(exit_code=exited.exit_code), 1.0)
        self.feed(name, exited)

    def tick(self) -> None:
        for name in self.roster.due(self.now):
            self.feed(name, Ticked())
        self.settle()

    # What happens to it.

    @precondition(lambda self: self.alive)
    @rule(name=NAMES)
    def becomes_ready(self, name: str) -> None:
        if name in self.alive:
            self.feed(name, BecameReady())
            self.settle()

    @precondition(lambda self: self.alive)
    @rule(name=NAMES, exit_code=st.sampled_from([None, 0, 1, 78]))
    def dies(self, name: str, exit_code: int | None) -> None:
        if name in self.alive:
            self.die(name, Exited(exit_code=exit_code, is_setup_failure=exit_code == 78))
            self.settle()

    @precondition(lambda self: self.stages)
    @rule(name=NAMES)
    def spare_advances(self, name: str) -> None:
        if name in self.stages:
            self.stages[name] = NEXT_STAGE.get(self.stages[name], self.stages[name])
            self.book.note_import(name, self.now)
            self.settle()

    @precondition(lambda self: self.stages)
    @rule(name=NAMES)
    def spare_dies(self, name: str) -> None:
        if name in self.stages:
            self.lose_spare(name)
            self.settle()

    @rule(seconds=st.sampled_from([0.1, 1.0, 5.0, 30.0, 100.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.tick()

    @rule(name=NAMES)
    def restart_is_asked_for(self, name: str) -> None:
        self.restarts.add(name)
        self.settle()

    @rule(name=NAMES)
    def falls_silent(self, name: str) -> None:
        self.feed(name, FellSilent("no heartbeat for 5 s"))
        self.settle()

    @rule(name=NAMES)
    def is_killed_and_dies(self, name: str) -> None:
        self.feed(name, KillRequested())
        if name in self.killed:
            self.die(name, Exited(exit_code=None))
        self.settle()

    @invariant()
    def a_child_that_is_said_to_have_a_process_has_one(self) -> None:
        for name, child in self.roster.children.items():
            assert child.has_process == (name in self.alive)

    @invariant()
    def nothing_waits_for_ever(self) -> None:
        for name, child in self.roster.children.items():
            if child.state in (State.STARTING, State.BACKOFF, State.STOPPING):
                assert child.deadline_s is not None or name in self.killed
        deadline_s = self.book.deadline_s(self.roster.children, self.stages, self.now)
        assert deadline_s is None or deadline_s > self.now, "the loop would not sleep"

    def teardown(self) -> None:
        for name in self.roster.children:
            self.restarts.add(name)
        for _ in range(40):
            self.let_all_go_well()
        assert self.roster.are_all_running
        assert self.restarts.deadline_s is None
        self.stop_all()
        assert not self.alive

    def let_all_go_well(self) -> None:
        self.settle()
        for name, child in self.roster.children.items():
            if child.state is State.STARTING:
                self.feed(name, BecameReady())
            elif child.state is State.STOPPING:
                self.die(name, Exited(exit_code=0))
        for name in list(self.stages):
            self.stages[name] = NEXT_STAGE.get(self.stages[name], self.stages[name])
        self.settle()
        if (deadline_s := self.roster.deadline_s) is not None:
            self.now = max(self.now, deadline_s)
            self.tick()

    def stop_all(self) -> None:
        stop_by_s = self.now + 5.0
        for _ in range(20):
            if (name := next_to_stop(self.roster.children)) is not None:
                self.feed(name, StopRequested(kill_at_s(self.roster.children, stop_by_s, self.now)))
            for doomed in list(self.killed):
                self.die(doomed, Exited(exit_code=None))
            if (deadline_s := self.roster.deadline_s) is not None:
                self.now = max(self.now, deadline_s)
                for due in self.roster.due(self.now):
                    self.feed(due, Ticked())
        assert self.now <= stop_by_s


TestTree = Tree.TestCase
TestTree.settings = settings(max_examples=150, stateful_step_count=40)
