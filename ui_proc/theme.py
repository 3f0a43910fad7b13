"""The look of the application: palette, fonts and style sheet, following the desktop or the operator.

Owns which palette is in use and puts it on the application. Must not know what is shown. GUI thread only.
"""

from __future__ import annotations

from PySide6.QtCore import QObject, QSettings, Qt, Signal
from PySide6.QtGui import QColor, QFont, QFontDatabase, QGuiApplication, QPalette
from PySide6.QtWidgets import QApplication

from ui_proc.palettes import DARK, LIGHT, Colors
from ui_proc.style_sheet import style_sheet

CHOICES = ("system", "light", "dark")
SETTING = "window/theme"
# The first of these that is installed; each has tabular figures, so that times and counts do not jitter.
FAMILIES = ("Inter", "Noto Sans", "Cantarell", "Ubuntu", "DejaVu Sans")
BASE_FONT_PX = 13


class Theme(QObject):
    """The palette in use: the operator's choice, or what the desktop says.

    Signals:
        changed: the colours are others now; whoever paints by itself repaints.
    """

    changed = Signal()

    def __init__(self, application: QApplication, settings: QSettings) -> None:
        super().__init__(application)
        self._application = application
        self._settings = settings
        stored = str(settings.value(SETTING, "system"))
        self.choice = stored if stored in CHOICES else "system"
        self.colors = LIGHT
        application.setStyle("Fusion")
        application.setFont(base_font())
        QGuiApplication.styleHints().colorSchemeChanged.connect(self._apply)
        self._apply()

    def choose(self, choice: str) -> None:
        """Use "system", "light" or "dark" from now on, in the next start too."""
        if choice not in CHOICES:
            raise ValueError(f"theme is {choice!r}; use one of {', '.join(CHOICES)}")
        self.choice = choice
        self._settings.setValue(SETTING, choice)
        self._apply()

    def _apply(self) -> None:
        self.colors = DARK if self._wants_dark() else LIGHT
        self._application.setPalette(_palette(self.colors))
        self._application.setStyleSheet(style_sheet(self.colors))
        self.changed.emit()

    def _wants_dark(self) -> bool:
        if self.choice == "system":
            return QGuiApplication.styleHints().colorScheme() == Qt.ColorScheme.Dark
        return self.choice == "dark"


def base_font() -> QFont:
    """Return the font of the window; sizes are in pixels, so the layout does not depend on the display's dpi."""
    installed = set(QFontDatabase.families())
    font = QFont(next((family for family in FAMILIES if family in installed), QFont().family()))
    font.setPixelSize(BASE_FONT_PX)
    return font


def fixed_font(size_px: int = BASE_FONT_PX - 1) -> QFont:
    """Return the font for JSON and commands."""
    font = QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont)
    font.setPixelSize(size_px)
    return font


def sized(font: QFont, size_px: int, weight: QFont.Weight = QFont.Weight.Normal) -> QFont:
    """Return a copy in another size and weight."""
    copy = QFont(font)
    copy.setPixelSize(size_px)
    copy.setWeight(weight)
    return copy


def _palette(colors: Colors) -> QPalette:
    palette = QPalette()
    roles = {
        QPalette.ColorRole.Window: colors.window,
        QPalette.ColorRole.WindowText: colors.text,
        QPalette.ColorRole.Base: colors.surface,
        QPalette.ColorRole.AlternateBase: colors.raised,
        QPalette.ColorRole.Text: colors.text,
        QPalette.ColorRole.PlaceholderText: colors.muted,
        QPalette.ColorRole.Button: colors.surface,
        QPalette.ColorRole.ButtonText: colors.text,
        QPalette.ColorRole.ToolTipBase: colors.raised,
        QPalette.ColorRole.ToolTipText: colors.text,
        QPalette.ColorRole.Highlight: colors.accent,
        QPalette.ColorRole.HighlightedText: colors.on_accent,
        QPalette.ColorRole.Link: colors.accent,
    }
    for role, color in roles.items():
        palette.setColor(role, QColor(color))
    for role in (QPalette.ColorRole.Text, QPalette.ColorRole.ButtonText, QPalette.ColorRole.WindowText):
        palette.setColor(QPalette.ColorGroup.Disabled, role, QColor(colors.muted))
    return palette
