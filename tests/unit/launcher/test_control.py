"""What the control plane keeps of what it has told."""

from __future__ import annotations

import msgspec

from launcher.control import ControlPlane, Told
from launcher.log_ring import LogRing
from launcher.sampling import Sampler
from launcher.status import Snapshot
from tests.unit.ipc.channel import KEY
from tests.unit.ipc.stranger import Stranger


def test_a_launcher_that_has_seen_thousands_of_restarts_holds_no_more_than_one_that_has_seen_a_few(
    socket_path: str,
) -> None:
    snapshot = Snapshot(run_id="r", pid=1, started_s=0.0, socket="/s", control_socket=socket_path, url="http://u")
    told = Told(sampler=Sampler(), log=LogRing(), crash_reports=dict)
    control = ControlPlane(socket_path, KEY, lambda _command: None, snapshot, told)
    control.start()
    try:
        for run in range(3000):
            control.publish(msgspec.structs.replace(snapshot, pid=run))
        with Stranger(socket_path) as stranger:
            welcome = stranger.greet()
    finally:
        control.stop()

    assert welcome["seq"] == 3000
    assert welcome["oldest"] > 2700
