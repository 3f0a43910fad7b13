"""The words of the restart policy: what a child can be, what can happen to it, what has to be done about it.

Owns the values alone; the rules between them are in `policy`. Must not know processes, pipes or a clock.
Immutable, so any thread may hold them. Names as in Supervisor (the states) and Erlang (intensity and period).
"""

from __future__ import annotations

import enum

import msgspec


class State(enum.StrEnum):
    """What a child is doing, as `status` and the log name it."""

    STOPPED = "STOPPED"
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    BACKOFF = "BACKOFF"
    STOPPING = "STOPPING"
    EXITED = "EXITED"
    FATAL = "FATAL"


LIVE_STATES = frozenset({State.STARTING, State.RUNNING, State.STOPPING})


class After(enum.Enum):
    """What the death of a child that is being stopped leads to."""

    STAY_DOWN = enum.auto()
    START_AGAIN = enum.auto()
    COUNT_AS_CRASH = enum.auto()


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The numbers of the policy; the defaults are the product's."""

    backoff_base_s: float = 0.25
    backoff_cap_s: float = 30.0
    intensity: int = 5
    period_s: float = 60.0
    stable_s: float = 10.0
    start_timeout_s: float = 30.0
    stop_timeout_s: float = 5.0
    dump_s: float = 0.5  # what a hung child gets between SIGABRT and SIGKILL to write its threads' stacks


# Events: what happened.
class StartRequested(msgspec.Struct, frozen=True):
    """The order of the tree allows this child to run."""


class RestartRequested(msgspec.Struct, frozen=True):
    """An operator wants a new process."""


class StopRequested(msgspec.Struct, frozen=True):
    """The child has to be gone at `kill_at_s`."""

    kill_at_s: float


class KillRequested(msgspec.Struct, frozen=True):
    """The child has to be gone now."""


class BecameReady(msgspec.Struct, frozen=True):
    """The child said that it is of use."""


class Exited(msgspec.Struct, frozen=True, kw_only=True):
    """The process is gone. `jitter` in [0, 1] picks the delay between half and all of the backoff step."""

    exit_code: int | None
    signal: str | None = None
    is_setup_failure: bool = False
    reason: str = ""
    jitter: float = 1.0


class StartFailed(msgspec.Struct, frozen=True):
    """There is no process, because what it needs could not be had."""

    reason: str


class FellSilent(msgspec.Struct, frozen=True):
    """The child has not beaten for too long."""

    reason: str


class Ticked(msgspec.Struct, frozen=True):
    """`Child.deadline_s` has passed."""


Event = (
    StartRequested
    | RestartRequested
    | StopRequested
    | KillRequested
    | BecameReady
    | Exited
    | StartFailed
    | FellSilent
    | Ticked
)


# Actions: what the shell has to do, in this order.
class Start(msgspec.Struct, frozen=True):
    """Let a process go."""


class SendStop(msgspec.Struct, frozen=True):
    """Ask the child to stop."""


class SendSignal(msgspec.Struct, frozen=True):
    """Send the signal of this name."""

    name: str


class ScheduleRestart(msgspec.Struct, frozen=True):
    """Say that the next start comes in `delay_s`, and which one since the last stable run it is."""

    delay_s: float
    attempt: int
    reason: str


class GiveUp(msgspec.Struct, frozen=True):
    """Say that the child stays down until an operator asks for a restart."""

    reason: str


class ReportHung(msgspec.Struct, frozen=True):
    """Say that the child does not answer and is being replaced."""

    reason: str


class Quit(msgspec.Struct, frozen=True):
    """The user left: stop everything."""


Action = Start | SendStop | SendSignal | ScheduleRestart | GiveUp | ReportHung | Quit


class Rung(msgspec.Struct, frozen=True):
    """One step of a stop ladder: what to send, and when."""

    at_s: float
    action: Action


class Child(msgspec.Struct, frozen=True, kw_only=True):
    """All that the policy remembers of one child; past `deadline_s` it wants a `Ticked`."""

    limits: Limits = Limits()
    quits_tree: bool = False
    state: State = State.STOPPED
    entered_s: float = 0.0
    deadline_s: float | None = None
    ready_s: float | None = None
    crashes: tuple[float, ...] = ()
    attempt: int = 0
    unstable_crashes: int = 0
    ladder: tuple[Rung, ...] = ()
    after: After = After.STAY_DOWN
    reason: str = ""

    @property
    def is_hung(self) -> bool:
        """Whether it is being killed because it stopped answering, which is then its `reason`."""
        return self.state is State.STOPPING and bool(self.reason)

    @property
    def has_process(self) -> bool:
        """Whether a process exists that has been told to go."""
        return self.state in LIVE_STATES
