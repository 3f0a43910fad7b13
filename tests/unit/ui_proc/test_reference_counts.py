"""A canary for the binding: 6.12.0 on Python 3.11 loses a reference to None per repaint and aborts after some 5,700."""

import sys

import pytest
from PySide6.QtCore import QObject, Signal
from PySide6.QtWidgets import QWidget

REPAINTS = 500
# Other references to None come and go a little; one lost per repaint would be 500.
SLACK = 50


class Painted(QWidget):
    def __init__(self):
        super().__init__()
        self.paints = 0

    def paintEvent(self, _event):  # noqa: N802 - Qt's name
        self.paints += 1


class Emitter(QObject):
    said = Signal(object)


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="None is immortal since Python 3.12: there is no count")
def test_repaints_and_emits_lose_no_reference_to_none(qtbot):
    widget, emitter, heard = Painted(), Emitter(), []
    qtbot.addWidget(widget)
    emitter.said.connect(heard.append)
    with qtbot.waitExposed(widget):
        widget.show()
    widget.paints = 0
    before = sys.getrefcount(None)
    for number in range(REPAINTS):
        widget.repaint()
        emitter.said.emit(number)
    assert (widget.paints, len(heard)) == (REPAINTS, REPAINTS)
    assert abs(sys.getrefcount(None) - before) < SLACK
