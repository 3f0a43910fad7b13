"""The product's mark: two cells joined by a fibre; in the header and as the window's icon.

Owns the drawing. Must not know anything else. GUI thread only.
"""

from __future__ import annotations

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QIcon, QPainter, QPen, QPixmap

ICON_PX = (16, 24, 32, 48, 64, 128)


def brand_pixmap(size_px: int, ground: str, ink: str, ratio: float = 1.0) -> QPixmap:
    """Return the mark as a rounded square of `size_px` device-independent pixels."""
    pixmap = QPixmap(round(size_px * ratio), round(size_px * ratio))
    pixmap.setDevicePixelRatio(ratio)
    pixmap.fill(Qt.GlobalColor.transparent)
    painter = QPainter(pixmap)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(QColor(ground))
    painter.drawRoundedRect(QRectF(0, 0, size_px, size_px), size_px * 0.26, size_px * 0.26)
    start, end = QPointF(size_px * 0.32, size_px * 0.66), QPointF(size_px * 0.68, size_px * 0.34)
    painter.setPen(QPen(QColor(ink), size_px * 0.09))
    painter.drawLine(start, end)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(QColor(ink))
    painter.drawEllipse(start, size_px * 0.16, size_px * 0.16)
    painter.drawEllipse(end, size_px * 0.12, size_px * 0.12)
    painter.end()
    return pixmap


def brand_icon(ground: str, ink: str) -> QIcon:
    """Return the mark as an icon in the sizes that desktops ask for."""
    icon = QIcon()
    for size_px in ICON_PX:
        icon.addPixmap(brand_pixmap(size_px, ground, ink))
    return icon
