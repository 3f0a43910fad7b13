"""Puts the window together: two connections, the models, the pages, and the clock that moves them.

Owns the wiring and the lifetime of everything on the GUI thread. Must not know how a mark is drawn or how messages
travel. GUI thread only; `stop_later` alone may be called from any thread.
"""

from __future__ import annotations

import time
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import structlog
from PySide6.QtCore import QObject, QSettings, Qt, QTimer, Signal
from PySide6.QtGui import QFontDatabase
from PySide6.QtWidgets import QApplication, QMessageBox

from ipc import ChildContext, ClientState, Message, PayloadError, SocketManager
from ui_proc.board_actions import BoardActions, ask_in_dialog
from ui_proc.board_feed import BoardFeed
from ui_proc.board_model import BoardModel
from ui_proc.board_view import BoardView
from ui_proc.connection_text import LinkRecord, ServerNews
from ui_proc.launcher_link import LauncherLink
from ui_proc.launcher_report import Child, server_news
from ui_proc.main_window import MainWindow, Pages
from ui_proc.messages_model import MessagesModel
from ui_proc.messages_view import MessagesView
from ui_proc.processes_view import ProcessesView
from ui_proc.qt_libraries import FONT_PACKAGE, INSTALL
from ui_proc.state import BoardState
from ui_proc.theme import Theme
from ui_proc.traffic_state import Delivery, TrafficState

TICK_MS = 1_000
BEAT_MS = 500
SHOW_NEWS_MS = 50
"""How long what is new of the connections and the processes may wait to be painted: a server that is back within that
time has the processor for itself meanwhile, and nothing flickers."""
SETTINGS_FILE = "ui.ini"
REFUSED = "the list of unsent messages is full, or the connection was stopped."

log = structlog.get_logger()


class Application(QObject):
    """The running ui.

    Signals:
        _stop_asked(): emitted on any thread, heard on the GUI thread.
    """

    _stop_asked = Signal()

    def __init__(self, context: ChildContext, qt: QApplication) -> None:
        super().__init__()
        self._context, self._qt = context, qt
        settings = context.settings
        self.manager = self._channel(settings.socket, "ui")
        self.control = self._channel(settings.control_socket, "ui-control", traffic_level="debug")
        self._record = LinkRecord(ClientState(kind="connecting"), time.monotonic())
        self._reported_at_s = 0.0
        self._ticks = 0
        stored = QSettings(str(Path(settings.state_dir) / SETTINGS_FILE), QSettings.Format.IniFormat, self)
        theme = Theme(qt, stored)
        self.board = BoardModel(BoardState(_now().date()), parent=self)
        self.messages = MessagesModel(TrafficState(), parent=self)
        self.pages = Pages(
            BoardView(self.board, theme, settings.url),
            MessagesView(self.messages, theme),
            ProcessesView(theme),
        )
        self.window = MainWindow(self.pages, theme, stored)
        self._feed = BoardFeed(self.manager, self.board, self)
        self.actions = BoardActions(self.manager, partial(ask_in_dialog, self.window), self)
        self._launcher = LauncherLink(self.control, self)
        self._timer = QTimer(self)
        self._timer.setInterval(TICK_MS)
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.setInterval(SHOW_NEWS_MS)
        self._reported: tuple[Child, ...] | None = None  # and not shown yet
        self._pulse = QTimer(self)
        self._pulse.setInterval(BEAT_MS)
        self._connect()

    def run(self) -> int:
        """Show the window until it is closed or the launcher says stop; return the exit code."""
        if not QFontDatabase.families():
            log.warning("fonts_missing", remedy=f"{INSTALL} {FONT_PACKAGE}")
        self.tick()
        self._timer.start()
        self._context.heartbeat()
        self._pulse.start()
        self.window.show()
        self.manager.start()
        self.control.start()
        self._context.on_stop(self.stop_later)
        self.window.closed.connect(self._qt.exit)
        code = self._qt.exec()
        self.window.closed.disconnect(self._qt.exit)
        self._timer.stop()
        self._soon.stop()
        self._pulse.stop()
        self.window.close()  # first: it keeps the settings, and the channels may take a second each to say goodbye
        self.manager.stop()
        self.control.stop()
        return code

    def stop_later(self) -> None:
        """End the event loop; may be called from any thread, and before the loop runs."""
        self._stop_asked.emit()

    def _channel(self, address: str, name: str, traffic_level: str = "info") -> SocketManager:
        context = self._context
        return SocketManager(
            address,
            authkey=context.authkey,
            name=name,
            parent=self,
            log_payloads=context.settings.log_payloads,
            traffic_level=traffic_level,
        )

    def _connect(self) -> None:
        # `exit`, not `quit`: that one closes the windows first, and a window may refuse.
        self._stop_asked.connect(self._qt.exit, Qt.ConnectionType.QueuedConnection)
        self.window.painted.connect(self._context.ready)
        self._timer.timeout.connect(self.tick)
        self._soon.timeout.connect(self._show_news)
        self._pulse.timeout.connect(self._context.heartbeat)
        self.manager.state_changed.connect(self._show_state)
        self.manager.delivered.connect(self._show_message)
        self._feed.loaded.connect(self._show_pill)
        self._launcher.reported.connect(self._show_children)
        self._launcher.sampled.connect(self.pages.processes.show_sample)
        self._launcher.silenced.connect(self._show_silence)
        self.board.published.connect(self._log_shown)
        self.pages.messages.line_entered.connect(self._send_line)
        self.pages.board.mark_asked.connect(self.actions.mark_by_hand)
        self.pages.board.void_asked.connect(self.actions.void)
        self.pages.board.rename_asked.connect(self.actions.rename)
        self.actions.refused.connect(self._show_refusal)

    def tick(self) -> None:
        """Move everything that shows time; once a second."""
        now = _now()
        if self.board.roll(now.date()):
            self.pages.board.refresh()
        self.pages.board.show_time(now)
        self.pages.processes.show_age(time.monotonic() - self._reported_at_s)
        self._show_pill()

    def _show_pill(self) -> None:
        self._record.is_loaded = self.board.state.is_loaded
        self._record.is_syncing = self.board.state.is_syncing
        self.window.pill.show_pill(self._record.pill(time.monotonic()))

    def _show_state(self, state: ClientState) -> None:
        log.debug("connection_changed", channel="ui", state=state.kind)
        self._record.state_changed(state, time.monotonic())
        self._show_soon()

    def _show_message(self, message: Message) -> None:
        self._record.message_arrived(time.monotonic())
        self.messages.received(_now(), message.payload, message.seq)

    def _show_children(self, children: tuple[Child, ...]) -> None:
        self._reported_at_s = time.monotonic()
        self._record.server = server_news(children)
        self._reported = children
        self._show_soon()

    def _show_soon(self) -> None:
        if not self._soon.isActive():
            self._soon.start()

    def _show_news(self) -> None:
        reported, self._reported = self._reported, None
        if reported is not None:
            self.pages.processes.show_children(reported)
        self._show_pill()

    def _show_silence(self, reason: str) -> None:
        self._record.server, self._reported = ServerNews(), None
        self.pages.processes.show_silence(reason)
        self._show_pill()

    def _log_shown(self, count: int) -> None:
        state = self.board.state
        log.debug("marks_shown", added=count, rows=len(state.rows), newest_seq=state.newest_seq)

    def _show_refusal(self, reason: str) -> None:
        box = QMessageBox(QMessageBox.Icon.Warning, "Not done", reason, parent=self.window)
        box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        box.open()  # does not wait: the board goes on behind it

    def _send_line(self, text: str) -> None:
        payload: dict[str, Any] = {"type": "action", "action": "note", "text": text}
        try:
            problem = "" if self.manager.send_message(payload) else REFUSED
        except PayloadError as error:
            self.pages.messages.line_refused(f"{error}.")
            return
        if problem:
            self.messages.sent(_now(), payload, Delivery.REFUSED)
            self.pages.messages.line_refused(problem)
            return
        is_live = self.manager.state.kind == "live"
        self.messages.sent(_now(), payload, Delivery.SENT if is_live else Delivery.QUEUED)
        self.pages.messages.line_accepted()


def _now() -> datetime:
    return datetime.now().astimezone()
