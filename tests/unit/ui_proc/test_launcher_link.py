"""LauncherLink: the children, from the reply and from broadcasts."""

import pytest
from structlog.testing import capture_logs

from ipc import RequestError
from tests.unit.ui_proc.fake_manager import LIVE, WAITING
from ui_proc.launcher_link import LauncherLink

pytestmark = pytest.mark.usefixtures("qapp")

REPORT = {"children": [{"name": "server", "state": "RUNNING", "pid": 5, "restarts": 0, "uptime_s": 1.0}]}


@pytest.fixture
def link(manager):
    return LauncherLink(manager)


def test_each_connection_asks_for_the_status(link, manager, qtbot):
    manager.enter(LIVE)
    assert [payload for payload, _ in manager.requests] == [{"type": "status"}]
    with qtbot.waitSignal(link.reported) as blocker:
        manager.answer(REPORT)
    assert blocker.args[0][0].pid == 5


def test_a_broadcast_of_the_children_is_reported(link, manager, qtbot):
    with qtbot.waitSignal(link.reported) as blocker:
        manager.deliver(1, {"type": "children"} | REPORT)
    assert blocker.args[0][0].name == "server"


def test_a_sample_is_passed_on(link, manager, qtbot):
    sample = {"type": "process_sampled", "child": "ui", "child_pid": 5, "cpu_percent": 1.5, "rss_bytes": 7, "fds": 3}
    with qtbot.waitSignal(link.sampled) as blocker:
        manager.deliver(0, sample)
    assert (blocker.args[0].child, blocker.args[0].rss_bytes) == ("ui", 7)


def test_a_sample_that_cannot_be_read_is_logged(link, manager, qtbot):
    with capture_logs() as logs, qtbot.assertNotEmitted(link.sampled):
        manager.deliver(0, {"type": "process_sampled", "child": 5})
    assert [each["event"] for each in logs] == ["launcher_sample_ignored"]


def test_other_messages_are_ignored(link, manager, qtbot):
    with qtbot.assertNotEmitted(link.reported):
        manager.deliver(1, {"type": "sample"} | REPORT)


def test_a_lost_launcher_is_told_with_the_reason(link, manager, qtbot):
    with qtbot.waitSignal(link.silenced) as blocker:
        manager.enter(WAITING)
    assert "refused" in blocker.args[0]


@pytest.mark.parametrize(
    ("reply", "event"),
    [
        (RequestError("timeout", "5 s"), "launcher_status_failed"),
        ({"children": [{"name": 5}]}, "launcher_status_ignored"),
    ],
)
def test_a_bad_answer_is_logged(link, manager, qtbot, reply, event):
    manager.enter(LIVE)
    with capture_logs() as logs, qtbot.assertNotEmitted(link.reported):
        manager.answer(reply)
    assert [each["event"] for each in logs] == [event]
