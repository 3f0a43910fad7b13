"""A card for one supervised process.

Owns the layout of the card. Must not know the launcher. GUI thread only.
"""

from __future__ import annotations

from PySide6.QtWidgets import QFrame, QGridLayout, QHBoxLayout, QLabel, QVBoxLayout, QWidget

from ui_proc import wording
from ui_proc.connection_text import Pill
from ui_proc.launcher_report import Child
from ui_proc.status_pill import StatusPill
from ui_proc.theme import Theme

NOTHING = "\N{EN DASH}"
FACTS = ("PID", "Uptime", "CPU", "Memory", "Restarts", "Last exit")


class ProcessCard(QFrame):
    """Name, state and figures of a Child; no signals of its own."""

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("role", "card")
        self._name = QLabel()
        self._name.setProperty("role", "heading")
        self._state = StatusPill(theme)
        self._facts = {fact: QLabel(NOTHING, wordWrap=True) for fact in FACTS}
        title = QHBoxLayout()
        title.addWidget(self._name, 1)
        title.addWidget(self._state)
        grid = QGridLayout()
        grid.setHorizontalSpacing(18)
        grid.setVerticalSpacing(8)
        grid.setColumnStretch(1, 1)
        for row, (fact, value) in enumerate(self._facts.items()):
            caption = QLabel(fact)
            caption.setProperty("role", "muted")
            grid.addWidget(caption, row, 0)
            grid.addWidget(value, row, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(18, 16, 18, 16)
        layout.setSpacing(16)
        layout.addLayout(title)
        layout.addLayout(grid)

    @property
    def name(self) -> str:
        return self._name.text()

    @property
    def state(self) -> str:
        return self._state.pill.title

    def text(self, fact: str) -> str:
        """Return what the card says of one of FACTS."""
        return self._facts[fact].text()

    def show_child(self, child: Child, age_s: float) -> None:
        """Show a child whose report is `age_s` old."""
        self._name.setText(child.name)
        self._state.show_pill(Pill(child.tone, child.state.capitalize()))
        uptime = None if child.uptime_s is None else child.uptime_s + age_s
        is_up = child.state == "RUNNING" and uptime is not None
        values = {
            "PID": str(child.pid or NOTHING),
            "Uptime": wording.duration(uptime or 0.0) if is_up else NOTHING,
            "CPU": NOTHING if child.cpu_percent is None else f"{child.cpu_percent:.1f} %",
            "Memory": NOTHING if child.rss_bytes is None else f"{child.rss_bytes / 2**20:,.0f} MiB",
            "Restarts": f"{child.restarts:,}",
            "Last exit": child.last_words or NOTHING,
        }
        for fact, value in values.items():
            self._facts[fact].setText(value)
