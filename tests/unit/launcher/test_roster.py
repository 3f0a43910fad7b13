"""What is remembered of the children."""

from __future__ import annotations

from launcher.policy_types import BecameReady, Exited, Start, StartRequested, State
from launcher.process import ExitStatus
from launcher.roster import Roster
from launcher.spec import CHILDREN
from launcher.status import Snapshot

BASE = Snapshot(run_id="r", pid=1, started_s=0.0, socket="s", control_socket="c", url="u")


def test_a_childs_life_is_recorded() -> None:
    roster = Roster(CHILDREN)
    assert roster.take_change()

    assert roster.apply("server", StartRequested(), 1.0) == (Start(),)
    roster.note_start("server", 4711, 1.0)
    assert roster.started == {"server"}
    assert roster.deadline_s == 31.0
    assert roster.due(30.9) == []
    assert roster.due(31.0) == ["server"]
    roster.apply("server", BecameReady(), 2.0)
    assert (roster.deadline_s, roster.are_all_running) == (None, False)

    roster.note_exit("server", ExitStatus(signal="SIGKILL"), 7.0)
    roster.apply("server", Exited(exit_code=None, reason="killed by SIGKILL"), 8.0)
    snapshot = roster.snapshot(BASE, is_stopping=False)

    server, ui = snapshot.children
    assert (server.state, server.pid, server.restarts, server.attempt) == (State.BACKOFF, None, 0, 1)
    assert server.last_exit == {"exit_code": None, "signal": "SIGKILL", "words": "killed by SIGKILL", "uptime_s": 7.0}
    assert (ui.state, ui.last_exit) == (State.STOPPED, None)

    roster.note_start("server", 4712, 9.0)
    assert roster.snapshot(BASE, is_stopping=True).children[0].restarts == 1


def test_changes_are_told_once_and_an_event_without_a_rule_is_none() -> None:
    roster = Roster(CHILDREN)
    roster.take_change()

    roster.apply("ui", BecameReady(), 1.0)

    assert not roster.take_change()
