"""run(context): the order of the start, and what it says when it cannot."""

import os

import pytest
from PySide6.QtCore import QTimer
from structlog.testing import capture_logs

from ipc import ChildSetupError
from tests.unit.ui_proc.fake_context import FakeContext
from ui_proc import main
from ui_proc.qt_libraries import Library

pytestmark = pytest.mark.usefixtures("loop_guard")


@pytest.fixture(autouse=True)
def clean_up(monkeypatch, qapp):
    monkeypatch.setenv("QT_QPA_PLATFORM", os.environ["QT_QPA_PLATFORM"])  # undone after the test
    yield
    qapp.setStyleSheet("")


def test_it_runs_until_told_to_stop_and_returns_0(tmp_path, monkeypatch):
    monkeypatch.setenv("QT_QPA_PLATFORM", "to be replaced")
    context = FakeContext(tmp_path, when_ready=lambda: context.stop())
    assert main.run(context) == 0
    assert context.readies == 1
    assert context.heartbeats >= 1
    assert os.environ["QT_QPA_PLATFORM"] == "offscreen"


def test_an_exception_in_a_slot_is_logged_and_the_window_goes_on(tmp_path):
    def fail():
        QTimer.singleShot(0, context.stop)
        raise LookupError("a slot that fails")

    context = FakeContext(tmp_path, when_ready=lambda: QTimer.singleShot(0, fail))
    with capture_logs() as logs:
        assert main.run(context) == 0
    failed = [event for event in logs if event["event"] == "slot_failed"]
    assert [event["error"] for event in failed] == ["LookupError: a slot that fails"]


def test_missing_libraries_are_named_before_qt_is_touched(tmp_path, monkeypatch):
    monkeypatch.setattr(main.qt_libraries, "find_missing", lambda _needed: [Library("libEGL.so.1", "libegl1")])
    with pytest.raises(ChildSetupError, match=r"libEGL\.so\.1.*apt-get install -y libegl1"):
        main.run(FakeContext(tmp_path))


def test_a_pyside_that_cannot_be_imported_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(main, "_import_error", ImportError("No module named 'PySide6'"))
    with pytest.raises(ChildSetupError, match="No module named 'PySide6'"):
        main.run(FakeContext(tmp_path))


def test_without_a_display_the_ui_runs_offscreen_and_says_so(tmp_path, monkeypatch):
    for name in ("QT_QPA_PLATFORM", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(main.application.Application, "run", lambda _self: 0)
    with capture_logs() as logs:
        assert main.run(FakeContext(tmp_path, offscreen=False)) == 0
    assert os.environ["QT_QPA_PLATFORM"] == "offscreen"
    assert [event["reason"][:10] for event in logs if event["event"] == "ui_offscreen"] == ["no display"]
