"""What the tables' delegates draw alike: the ground of a row, and text that is cut with an ellipsis.

Owns these two. Must not know what a row is. GUI thread only.
"""

from __future__ import annotations

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, QRectF, Qt
from PySide6.QtGui import QColor, QFontMetrics, QPainter
from PySide6.QtWidgets import QStyle, QStyleOptionViewItem

from ui_proc.batched_model import FRESH_ROLE
from ui_proc.palettes import Colors

PADDING_PX = 12
Index = QModelIndex | QPersistentModelIndex


def paint_ground(painter: QPainter, option: QStyleOptionViewItem, index: Index, colors: Colors) -> QRectF:
    """Paint selection or freshness and the line under the row; return the area left for content."""
    rect = option.rect
    if option.state & QStyle.StateFlag.State_Selected:
        painter.fillRect(rect, QColor(colors.accent_soft))
    elif index.data(FRESH_ROLE):
        painter.fillRect(rect, QColor(colors.good_soft))
    painter.fillRect(rect.left(), rect.bottom(), rect.width(), 1, QColor(colors.border))
    return QRectF(rect).adjusted(PADDING_PX, 0, -PADDING_PX, 0)


def draw_elided(painter: QPainter, area: QRectF, text: str) -> None:
    """Draw one line of text, cut where the area ends."""
    one_line = text.replace("\n", " ")
    fitting = QFontMetrics(painter.font()).elidedText(one_line, Qt.TextElideMode.ElideRight, int(area.width()))
    painter.drawText(area, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, fitting)
