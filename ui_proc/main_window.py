"""The window: header with tabs, connection pill and menu, and the three pages under it.

Owns shortcuts, full screen, and what is remembered of the window. Must not know sockets. GUI thread only.
"""

from __future__ import annotations

import msgspec
from PySide6.QtCore import QSettings, Qt, QTimer, Signal
from PySide6.QtGui import QAction, QActionGroup, QCloseEvent, QKeySequence, QPaintEvent, QShortcut
from PySide6.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QLabel,
    QMainWindow,
    QMenu,
    QSizePolicy,
    QStackedWidget,
    QTabBar,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from ui_proc.board_view import BoardView
from ui_proc.brand import brand_icon, brand_pixmap
from ui_proc.messages_view import MessagesView
from ui_proc.palettes import LIGHT
from ui_proc.processes_view import ProcessesView
from ui_proc.status_pill import StatusPill
from ui_proc.theme import CHOICES, Theme

TABS = ("Board", "Messages", "Processes")
GEOMETRY_SETTING, TAB_SETTING = "window/geometry", "window/tab"
BRAND_PX = 24
SIZE_PX = (1100, 700)
MINIMUM_SIZE_PX = (800, 500)


class Pages(msgspec.Struct, frozen=True):
    """What the tabs show, in their order."""

    board: BoardView
    messages: MessagesView
    processes: ProcessesView


class MainWindow(QMainWindow):
    """The one window.

    Signals:
        painted(): the first paint of the window and all in it is done; emitted once.
        closed(): the user, or the program, closed the window.
    """

    painted = Signal()
    closed = Signal()

    def __init__(self, pages: Pages, theme: Theme, settings: QSettings) -> None:
        super().__init__()
        self.setWindowTitle("Axon attendance")
        self.setWindowIcon(brand_icon(LIGHT.accent, LIGHT.on_accent))
        self.setMinimumSize(*MINIMUM_SIZE_PX)
        self.pages = pages
        self._theme, self._settings = theme, settings
        self._is_painted = False
        self._brand = QLabel()
        self.pill = StatusPill(theme)
        self.tabs = QTabBar(expanding=False, drawBase=False, usesScrollButtons=False)
        self.tabs.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self.stack = QStackedWidget()
        self.menu = self._build_menu()
        self._lay_out()
        self._add_shortcuts()
        self._restore()
        theme.changed.connect(self._paint_brand)
        self._paint_brand()

    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        if not self._is_painted:
            self._is_painted = True
            QTimer.singleShot(0, self.painted.emit)  # after the children, who are painted in the same pass

    def closeEvent(self, event: QCloseEvent) -> None:
        self._settings.setValue(GEOMETRY_SETTING, self.saveGeometry())
        self._settings.setValue(TAB_SETTING, self.tabs.currentIndex())
        self._settings.sync()
        super().closeEvent(event)
        self.closed.emit()

    def toggle_full_screen(self) -> None:
        """Fill the screen, or return to the window."""
        if self.isFullScreen():
            self.showNormal()
        else:
            self.showFullScreen()

    def focus_filter(self) -> None:
        """Put the keyboard into the filter of the page, or of the board where the page has none."""
        if self.stack.currentWidget() is self.pages.messages:
            self.pages.messages.focus_filter()
            return
        self.tabs.setCurrentIndex(0)
        self.pages.board.focus_filter()

    def _paint_brand(self) -> None:
        colors = self._theme.colors
        self._brand.setPixmap(brand_pixmap(BRAND_PX, colors.accent, colors.on_accent, self.devicePixelRatio()))

    def _restore(self) -> None:
        self.resize(*SIZE_PX)
        geometry = self._settings.value(GEOMETRY_SETTING)
        if geometry is not None:
            self.restoreGeometry(geometry)
        tab = str(self._settings.value(TAB_SETTING, 0))
        self.tabs.setCurrentIndex(int(tab) if tab in map(str, range(len(TABS))) else 0)

    def _lay_out(self) -> None:
        for name, page in zip(TABS, (self.pages.board, self.pages.messages, self.pages.processes), strict=True):
            self.tabs.addTab(name)
            self.stack.addWidget(page)
        self.tabs.currentChanged.connect(self.stack.setCurrentIndex)
        central = QWidget()
        central.setObjectName("page")
        layout = QVBoxLayout(central)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(self._header())
        layout.addWidget(self.stack, 1)
        self.setCentralWidget(central)

    def _header(self) -> QFrame:
        header = QFrame()
        header.setObjectName("header")
        name = QLabel("Axon")
        name.setProperty("role", "brand")
        menu_button = QToolButton()
        menu_button.setText("Menu")
        menu_button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        menu_button.setMenu(self.menu)
        layout = QHBoxLayout(header)
        layout.setContentsMargins(18, 9, 16, 9)
        layout.setSpacing(10)
        layout.addWidget(self._brand)
        layout.addWidget(name)
        layout.addSpacing(8)
        layout.addWidget(self.tabs)
        layout.addStretch(1)
        layout.addWidget(self.pill)
        layout.addWidget(menu_button)
        return header

    def _build_menu(self) -> QMenu:
        menu = QMenu(self)
        themes = QActionGroup(menu)
        for choice in CHOICES:
            name = "Theme: as the desktop" if choice == "system" else f"Theme: {choice}"
            action = QAction(name, menu, checkable=True, checked=choice == self._theme.choice)
            action.triggered.connect(lambda _checked, choice=choice: self._theme.choose(choice))
            themes.addAction(action)
            menu.addAction(action)
        menu.addSeparator()
        full_screen = menu.addAction("Full screen", self.toggle_full_screen)
        full_screen.setShortcut(QKeySequence("F11"))
        menu.addSeparator()
        close = menu.addAction("Quit", self.close)
        close.setShortcut(QKeySequence("Ctrl+Q"))
        self.addActions([full_screen, close])  # a shortcut of a closed menu works only if the window has it too
        return menu

    def _add_shortcuts(self) -> None:
        QShortcut(QKeySequence("Ctrl+F"), self, self.focus_filter)
        QShortcut(QKeySequence(Qt.Key.Key_Escape), self, self._leave_full_screen)
        for number in range(len(TABS)):
            QShortcut(
                QKeySequence(f"Ctrl+{number + 1}"),
                self,
                lambda index=number: self.tabs.setCurrentIndex(index),
            )

    def _leave_full_screen(self) -> None:
        if self.isFullScreen():
            self.showNormal()
