"""What stands where the rows will be: why there are none, and what to do.

Owns its layout. Must not know the board. GUI thread only.
"""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from ui_proc.theme import fixed_font

WELL_WIDTH_PX = 560


class EmptyState(QWidget):
    """A heading, an explanation and, where there is one, a command with a button that copies it; no signals."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._heading = _centered("heading")
        self._explanation = _centered("muted")
        self._command = QLabel()
        self._command.setFont(fixed_font())
        self._command.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._well = self._build_well()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(24, 12, 24, 12)
        layout.setSpacing(8)
        layout.addStretch(2)
        layout.addWidget(self._heading)
        layout.addWidget(self._explanation)
        layout.addSpacing(8)
        centered = QHBoxLayout()
        centered.addStretch(1)
        centered.addWidget(self._well, 100)
        centered.addStretch(1)
        layout.addLayout(centered)
        layout.addStretch(3)

    @property
    def text(self) -> str:
        return f"{self._heading.text()}\n{self._explanation.text()}"

    def explain(self, heading: str, explanation: str, command: str = "") -> None:
        """Say why there is nothing to see."""
        self._heading.setText(heading)
        self._explanation.setText(explanation)
        self._command.setText(command)
        self._well.setVisible(bool(command))

    def _build_well(self) -> QFrame:
        well = QFrame()
        well.setProperty("role", "well")
        well.setMaximumWidth(WELL_WIDTH_PX)
        self.copy = QPushButton("Copy")
        self.copy.clicked.connect(lambda: QGuiApplication.clipboard().setText(self._command.text()))
        layout = QHBoxLayout(well)
        layout.setContentsMargins(14, 10, 10, 10)
        layout.setSpacing(12)
        layout.addWidget(self._command, 1)
        layout.addWidget(self.copy, 0, Qt.AlignmentFlag.AlignVCenter)
        return well


def _centered(role: str) -> QLabel:
    label = QLabel()
    label.setProperty("role", role)
    label.setAlignment(Qt.AlignmentFlag.AlignHCenter)
    label.setWordWrap(True)
    label.setTextFormat(Qt.TextFormat.PlainText)
    return label
