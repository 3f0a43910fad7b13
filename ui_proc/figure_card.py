"""A card with one big figure and what it counts.

Owns the layout of a figure. Must not know where it comes from. GUI thread only.
"""

from __future__ import annotations

from PySide6.QtWidgets import QFrame, QLabel, QSizePolicy, QVBoxLayout, QWidget

NOT_KNOWN = "\N{EN DASH}"


class FigureCard(QFrame):
    """A caption over a figure; no signals of its own."""

    def __init__(self, caption: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("role", "card")
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Preferred)
        self.setMinimumWidth(120)
        self._caption = caption
        captioned = QLabel(caption)
        captioned.setProperty("role", "caption")
        self._figure = QLabel(NOT_KNOWN)
        self._figure.setProperty("role", "figure")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(16, 12, 16, 12)
        layout.setSpacing(4)
        layout.addWidget(captioned)
        layout.addStretch(1)
        layout.addWidget(self._figure)
        layout.addStretch(2)

    @property
    def text(self) -> str:
        return self._figure.text()

    def show_figure(self, value: int | None) -> None:
        """Show a number; None means that it is not known yet."""
        self._figure.setText(NOT_KNOWN if value is None else f"{value:,}")
        self.setAccessibleName(f"{self._caption}: {self._figure.text()}")
