"""What the ui's tests share: no display is needed, and a manager that travels nowhere."""

import os
from datetime import UTC, date, datetime, timedelta

import pytest
from PySide6.QtCore import QSettings, QTimer

from tests.unit.ui_proc.fake_manager import FakeManager
from ui_proc.state import BoardState, Mark
from ui_proc.theme import Theme

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

LOOP_GUARD_MS = 15_000
TODAY = date(2026, 3, 12)
EIGHT = datetime(2026, 3, 12, 8, 0, tzinfo=UTC)


@pytest.fixture
def make_mark():
    """Return a factory of marks: number n is of 08:00 UTC plus n seconds."""

    def make(number: int, **changes) -> Mark:
        moment = EIGHT + timedelta(seconds=number)
        fields = {
            "id": f"mark-{number}",
            "mark_seq": number,
            "person_id": f"person-{number % 7}",
            "timestamp": moment,
            "received_at": moment,
            "source": None,
        }
        return Mark(**(fields | changes))

    return make


@pytest.fixture
def state() -> BoardState:
    """An empty board of 50 rows, in UTC, that has loaded its snapshot."""
    board = BoardState(TODAY, max_rows=50, zone=UTC)
    board.is_syncing, board.is_loaded = False, True
    return board


@pytest.fixture
def loop_guard(qapp):
    """End an event loop that nobody ends, with a code that no test expects: pytest's timeout cannot."""
    guard = QTimer()
    guard.setSingleShot(True)
    guard.timeout.connect(lambda: qapp.exit(99))
    guard.start(LOOP_GUARD_MS)
    yield
    guard.stop()


@pytest.fixture
def settings(tmp_path) -> QSettings:
    return QSettings(str(tmp_path / "ui.ini"), QSettings.Format.IniFormat)


@pytest.fixture
def theme(qapp, settings):
    """The theme on the test's application; its look is taken off again."""
    theme = Theme(qapp, settings)
    yield theme
    theme.setParent(None)
    qapp.setStyleSheet("")


@pytest.fixture
def manager():
    return FakeManager()
