"""Paints the cells of the Messages tab.

Owns the drawing of a cell. Must not know where rows come from. GUI thread only.
"""

from __future__ import annotations

from PySide6.QtCore import QModelIndex, QPersistentModelIndex
from PySide6.QtGui import QColor, QFont, QPainter
from PySide6.QtWidgets import QStyledItemDelegate, QStyleOptionViewItem, QWidget

from ui_proc.batched_model import ROW_ROLE
from ui_proc.cell_paint import draw_elided, paint_ground
from ui_proc.messages_model import CONTENT, DELIVERY, TYPE
from ui_proc.palettes import Colors
from ui_proc.theme import Theme, sized
from ui_proc.traffic_state import Delivery, Entry


class EntryDelegate(QStyledItemDelegate):
    """Draws one cell of the traffic; no signals of its own."""

    def __init__(self, theme: Theme, parent: QWidget) -> None:
        super().__init__(parent)
        self._theme = theme

    def paint(
        self, painter: QPainter, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex
    ) -> None:
        painter.save()
        colors = self._theme.colors
        area = paint_ground(painter, option, index, colors)
        entry, column = index.data(ROW_ROLE), index.column()
        painter.setPen(QColor(_ink(entry, column, colors)))
        size_px = 12 if column in (CONTENT, DELIVERY) else 13
        weight = QFont.Weight.DemiBold if column == TYPE else QFont.Weight.Normal
        painter.setFont(sized(painter.font(), size_px, weight))
        draw_elided(painter, area, str(index.data() or ""))
        painter.restore()


def _ink(entry: Entry, column: int, colors: Colors) -> str:
    if column == DELIVERY and entry.delivery is Delivery.REFUSED:
        return colors.bad
    if column == DELIVERY and entry.delivery is Delivery.QUEUED:
        return colors.busy
    if column == TYPE and entry.is_outgoing:
        return colors.accent
    return colors.muted if column in (CONTENT, DELIVERY) else colors.text
