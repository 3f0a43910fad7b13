"""A small bar chart: today's marks by hour.

Owns the drawing. Must not know where the figures come from. GUI thread only.
"""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QFontMetrics, QHelpEvent, QPainter, QPaintEvent
from PySide6.QtWidgets import QSizePolicy, QToolTip, QWidget

from ui_proc.theme import Theme, sized

HOURS = 24
LABELLED_HOURS = (0, 6, 12, 18)
AXIS_PX = 17
GAP_PX = 3.0
STUB_PX = 2.0  # an empty hour is a dash on the axis, so that the day is seen to be 24 hours long


class ArrivalsChart(QWidget):
    """24 bars, the current hour in the accent colour; no signals of its own."""

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self.per_hour: tuple[int, ...] = (0,) * HOURS
        self._hour = 0
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setAccessibleName("Marks per hour today")
        theme.changed.connect(self.update)

    def show_hours(self, per_hour: Sequence[int], current_hour: int) -> None:
        """Show the marks of each hour of the local day."""
        if (tuple(per_hour), current_hour) != (self.per_hour, self._hour):
            self.per_hour, self._hour = tuple(per_hour), current_hour
            self.update()

    def sizeHint(self) -> QSize:
        return QSize(320, 72)

    def minimumSizeHint(self) -> QSize:
        return QSize(160, 48)

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setFont(sized(self.font(), 11))
        self._paint_bars(painter)
        self._paint_axis(painter)
        painter.end()

    def event(self, event: QEvent) -> bool:
        if isinstance(event, QHelpEvent):
            hour = min(HOURS - 1, max(0, int(event.pos().x() / self._step())))
            QToolTip.showText(event.globalPos(), f"{hour:02d}:00 to {hour + 1:02d}:00: {self.per_hour[hour]:,}")
            return True
        return super().event(event)

    def _step(self) -> float:
        return max(1.0, self.width() / HOURS)

    def _paint_bars(self, painter: QPainter) -> None:
        colors = self._theme.colors
        top = max(self.per_hour) or 1
        room = self.height() - AXIS_PX
        painter.setPen(Qt.PenStyle.NoPen)
        for hour, count in enumerate(self.per_hour):
            height = max(STUB_PX, room * count / top)
            bar = QRectF(hour * self._step() + GAP_PX / 2, room - height, self._step() - GAP_PX, height)
            soft = colors.accent_soft if count else colors.border
            painter.setBrush(QColor(colors.accent if hour == self._hour and count else soft))
            if count and hour != self._hour:
                painter.setBrush(_between(colors.accent, colors.surface))
            radius = min(3.0, height / 2)
            painter.drawRoundedRect(bar, radius, radius)

    def _paint_axis(self, painter: QPainter) -> None:
        painter.setPen(QColor(self._theme.colors.muted))
        metrics = QFontMetrics(painter.font())
        for hour in LABELLED_HOURS:
            painter.drawText(
                QPointF(hour * self._step() + GAP_PX / 2, self.height() - metrics.descent()), f"{hour:02d}"
            )
        end = f"{HOURS}"
        painter.drawText(
            QPointF(self.width() - metrics.horizontalAdvance(end) - GAP_PX / 2, self.height() - metrics.descent()),
            end,
        )


def _between(front: str, ground: str) -> QColor:
    """Return the colour halfway: past hours stay readable beside the current one."""
    a, b = QColor(front), QColor(ground)
    return QColor((a.red() + b.red()) // 2, (a.green() + b.green()) // 2, (a.blue() + b.blue()) // 2)
