"""The connection pill: a dot, a title that is always whole, a detail that is cut where there is no room.

Owns the drawing. Must not know connections; `connection_text` says what to write. GUI thread only.
"""

from __future__ import annotations

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QColor, QFont, QFontMetrics, QPainter, QPaintEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from ui_proc.connection_text import Pill, Tone
from ui_proc.theme import Theme, sized

HEIGHT_PX = 30
PADDING_PX = 13
DOT_PX = 8
SPACING_PX = 8
MINIMUM_DETAIL_PX = 56  # less is a letter and an ellipsis: nothing is better


class StatusPill(QWidget):
    """Shows one Pill; no signals of its own."""

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self.pill = Pill(Tone.OFF, "Starting")
        self.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Fixed)
        theme.changed.connect(self.update)

    def show_pill(self, pill: Pill) -> None:
        """Show another state; the same one again costs nothing."""
        if pill == self.pill:
            return
        self.pill = pill
        whole = f"{pill.title} \N{MIDDLE DOT} {pill.detail}" if pill.detail else pill.title
        self.setToolTip(f"{whole}\n{pill.note}" if pill.note else whole)
        self.setAccessibleName(f"Connection: {whole}")
        self.updateGeometry()
        self.update()

    def sizeHint(self) -> QSize:
        detail = QFontMetrics(self._detail_font()).horizontalAdvance(self.pill.detail)
        return QSize(self._title_end() + (SPACING_PX + detail if self.pill.detail else 0) + PADDING_PX + 1, HEIGHT_PX)

    def minimumSizeHint(self) -> QSize:
        return QSize(self._title_end() + PADDING_PX, HEIGHT_PX)

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        ink, ground = (QColor(color) for color in self._theme.colors.of(self.pill.tone))
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(ground)
        painter.drawRoundedRect(QRectF(self.rect()), HEIGHT_PX / 2, HEIGHT_PX / 2)
        painter.setBrush(ink)
        painter.drawEllipse(QRectF(PADDING_PX, (self.height() - DOT_PX) / 2, DOT_PX, DOT_PX))
        self._paint_texts(painter, ink)
        painter.end()

    def _paint_texts(self, painter: QPainter, ink: QColor) -> None:
        align = Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft
        painter.setPen(ink)
        painter.setFont(self._title_font())
        area = self.rect().adjusted(PADDING_PX + DOT_PX + SPACING_PX, 0, -PADDING_PX, 0)
        painter.drawText(area, align, self.pill.title)
        area.setLeft(self._title_end() + SPACING_PX)
        painter.setFont(self._detail_font())
        metrics = QFontMetrics(painter.font())
        if area.width() >= MINIMUM_DETAIL_PX or metrics.horizontalAdvance(self.pill.detail) <= area.width():
            detail = metrics.elidedText(self.pill.detail, Qt.TextElideMode.ElideRight, area.width())
            painter.drawText(area, align, detail)

    def _title_end(self) -> int:
        title = QFontMetrics(self._title_font()).horizontalAdvance(self.pill.title)
        return PADDING_PX + DOT_PX + SPACING_PX + title

    def _title_font(self) -> QFont:
        return sized(self.font(), 13, QFont.Weight.Bold)

    def _detail_font(self) -> QFont:
        return sized(self.font(), 12)
