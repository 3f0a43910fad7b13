"""Paints the cells of the board: a coloured initial per person, sources as chips, fresh rows tinted.

Owns the drawing of a cell. Must not know where rows come from. GUI thread only.
"""

from __future__ import annotations

import zlib

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QFont, QFontMetrics, QPainter
from PySide6.QtWidgets import QStyledItemDelegate, QStyleOptionViewItem, QWidget

from ui_proc.batched_model import ROW_ROLE, VOID_ROLE
from ui_proc.board_model import DELAY, PERSON, SOURCE, TIME
from ui_proc.cell_paint import PADDING_PX, draw_elided, paint_ground
from ui_proc.state import Mark
from ui_proc.theme import Theme, sized

ROW_HEIGHT_PX = 40
AVATAR_PX = 26
CHIP_HEIGHT_PX = 22
HUES = 12
VOID_OPACITY = 0.55


class MarkDelegate(QStyledItemDelegate):
    """Draws one cell of the board; no signals of its own."""

    def __init__(self, theme: Theme, parent: QWidget) -> None:
        super().__init__(parent)
        self._theme = theme

    def sizeHint(self, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex) -> QSize:
        return QSize(super().sizeHint(option, index).width() + 2 * PADDING_PX, ROW_HEIGHT_PX)

    def paint(
        self, painter: QPainter, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex
    ) -> None:
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        area = paint_ground(painter, option, index, self._theme.colors)
        mark = index.data(ROW_ROLE)
        text = str(index.data() or "")
        if index.data(VOID_ROLE):
            painter.setOpacity(VOID_OPACITY)
            font = painter.font()
            font.setStrikeOut(True)  # every font of a cell is made from this one
            painter.setFont(font)
        if index.column() == PERSON:
            self._paint_person(painter, area, mark, text)
        elif index.column() == SOURCE and mark.source:
            self._paint_chip(painter, area, text)
        else:
            self._paint_plain(painter, area, text, index.column())
        painter.restore()

    def _paint_person(self, painter: QPainter, area: QRectF, mark: Mark, text: str) -> None:
        circle = QRectF(area.left(), area.center().y() - AVATAR_PX / 2, AVATAR_PX, AVATAR_PX)
        ground, ink = avatar_colors(mark.person_id, self._theme.colors.is_dark)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(ground)
        painter.drawEllipse(circle)
        painter.setPen(ink)
        painter.setFont(sized(painter.font(), 10, QFont.Weight.Bold))
        painter.drawText(circle, Qt.AlignmentFlag.AlignCenter, initials(mark.person_id))
        painter.setPen(QColor(self._theme.colors.text))
        painter.setFont(sized(painter.font(), 14, QFont.Weight.DemiBold))
        draw_elided(painter, area.adjusted(AVATAR_PX + 10, 0, 0, 0), text)

    def _paint_chip(self, painter: QPainter, area: QRectF, text: str) -> None:
        painter.setFont(sized(painter.font(), 12))
        wanted = QFontMetrics(painter.font()).horizontalAdvance(text) + 20
        chip = QRectF(area.left(), area.center().y() - CHIP_HEIGHT_PX / 2, wanted, CHIP_HEIGHT_PX)
        chip.setRight(min(chip.right(), area.right()))
        painter.setPen(QColor(self._theme.colors.border))
        painter.setBrush(QColor(self._theme.colors.raised))
        painter.drawRoundedRect(chip.adjusted(0.5, 0.5, -0.5, -0.5), CHIP_HEIGHT_PX / 2, CHIP_HEIGHT_PX / 2)
        painter.setPen(QColor(self._theme.colors.text))
        draw_elided(painter, chip.adjusted(9, 0, -8, 0), text)

    def _paint_plain(self, painter: QPainter, area: QRectF, text: str, column: int) -> None:
        colors = self._theme.colors
        is_late = column == DELAY and text != "live"
        painter.setPen(QColor(colors.busy if is_late else colors.text if column == TIME else colors.muted))
        painter.setFont(sized(painter.font(), 14 if column == TIME else 13))
        draw_elided(painter, area, text)


def initials(person_id: str) -> str:
    """Return two characters that tell one id from the next: initials of words, the last two of a number."""
    words = [word for word in person_id.replace(".", " ").replace("-", " ").replace("_", " ").split() if word]
    if len(words) >= 2:
        return (words[0][0] + words[-1][0]).upper()
    return person_id[-2:] if person_id.isdigit() else person_id[:2].upper()


def avatar_colors(person_id: str, is_dark: bool) -> tuple[QColor, QColor]:
    """Return ground and ink for a person: the same in every session and on every machine."""
    hue = zlib.crc32(person_id.encode(errors="replace")) % HUES * (360 // HUES)
    if is_dark:
        return QColor.fromHsl(hue, 90, 62), QColor.fromHsl(hue, 180, 215)
    return QColor.fromHsl(hue, 150, 222), QColor.fromHsl(hue, 170, 60)
