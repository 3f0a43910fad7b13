"""The Messages tab: live traffic both ways, the JSON of the selected message, and a line to the server.

Owns the layout of the tab and the send line's manners. Must not know sockets. GUI thread only.
"""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPlainTextEdit,
    QPushButton,
    QSplitter,
    QVBoxLayout,
    QWidget,
)

from ui_proc.batched_model import ROW_ROLE
from ui_proc.entry_delegate import EntryDelegate
from ui_proc.messages_model import CONTENT, MessagesModel
from ui_proc.row_table import RowTable
from ui_proc.theme import Theme, fixed_font
from ui_proc.traffic_state import Entry

MARGIN_PX = 16
SPACING_PX = 12
ROW_HEIGHT_PX = 30
COLUMN_WIDTHS_PX = (114, 132, 160, 90)
MAX_LINE_CHARACTERS = 2_000


class MessagesView(QWidget):
    """The traffic over a MessagesModel.

    Signals:
        line_entered(str): the operator wants this text sent; answer with `line_accepted` or `line_refused`.
    """

    line_entered = Signal(str)

    def __init__(self, model: MessagesModel, theme: Theme) -> None:
        super().__init__()
        self.setObjectName("page")
        self._model = model
        self.filter = QLineEdit(placeholderText="Filter by type or content  (Ctrl+F)", clearButtonEnabled=True)
        self.pause = QPushButton("Pause")
        self.pause.setCheckable(True)
        self.table = RowTable(model, ROW_HEIGHT_PX)
        self.table.setItemDelegate(EntryDelegate(theme, self.table))
        self.table.set_widths(COLUMN_WIDTHS_PX, CONTENT)
        self.detail = QPlainTextEdit(readOnly=True, placeholderText="Select a message to read its JSON.")
        self.detail.setFont(fixed_font())
        self.line = QLineEdit(placeholderText="Write a line to the server", maxLength=MAX_LINE_CHARACTERS)
        self.send = QPushButton("Send")
        self.send.setEnabled(False)
        self.send.setProperty("role", "primary")
        self.problem = QLabel(wordWrap=True)
        self.problem.hide()
        self.problem.setProperty("role", "error")
        self._lay_out()
        self._connect()
        theme.changed.connect(self.table.viewport().update)

    def focus_filter(self) -> None:
        """Put the keyboard into the filter."""
        self.filter.setFocus()
        self.filter.selectAll()

    def line_accepted(self) -> None:
        """The line is on its way: make room for the next one."""
        self.line.clear()
        self.problem.hide()

    def line_refused(self, reason: str) -> None:
        """The line could not be sent: say why and keep the text."""
        self.problem.setText(f"Not sent: {reason} Your text is kept.")
        self.problem.show()

    def _connect(self) -> None:
        self.filter.textChanged.connect(self.table.filter_by)
        self.pause.toggled.connect(self._set_paused)
        self._model.waiting_changed.connect(self._show_waiting)
        self.table.selectionModel().selectionChanged.connect(self._show_selected)
        self.line.textChanged.connect(lambda text: self.send.setEnabled(bool(text.strip())))
        self.line.returnPressed.connect(self._enter_line)
        self.send.clicked.connect(self._enter_line)

    def _enter_line(self) -> None:
        text = self.line.text().strip()
        if text:
            self.line_entered.emit(text)

    def _set_paused(self, is_paused: bool) -> None:
        self.pause.setText("Paused" if is_paused else "Pause")
        self._model.set_paused(is_paused)

    def _show_waiting(self, count: object) -> None:
        self.pause.setText(f"Paused, {count} new")

    def _show_selected(self) -> None:
        indexes = self.table.selectionModel().selectedRows()
        entry = indexes[0].data(ROW_ROLE) if indexes else None
        self.detail.setPlainText(entry.detail if isinstance(entry, Entry) else "")

    def _lay_out(self) -> None:
        tools = QHBoxLayout()
        tools.setSpacing(SPACING_PX)
        tools.addWidget(self.filter, 1)
        tools.addWidget(self.pause)
        splitter = QSplitter(Qt.Orientation.Horizontal, childrenCollapsible=False, handleWidth=SPACING_PX)
        splitter.addWidget(_card(self.table, 2))
        splitter.addWidget(_card(self.detail, 8))
        splitter.setStretchFactor(0, 13)
        splitter.setStretchFactor(1, 7)
        composer = QHBoxLayout()
        composer.setSpacing(SPACING_PX)
        composer.addWidget(self.line, 1)
        composer.addWidget(self.send)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(MARGIN_PX, MARGIN_PX, MARGIN_PX, MARGIN_PX)
        layout.setSpacing(SPACING_PX)
        layout.addLayout(tools)
        layout.addWidget(splitter, 1)
        layout.addWidget(self.problem)
        layout.addLayout(composer)


def _card(content: QWidget, margin_px: int) -> QFrame:
    card = QFrame()
    card.setProperty("role", "card")
    layout = QVBoxLayout(card)
    layout.setContentsMargins(margin_px, margin_px, margin_px, margin_px)
    layout.addWidget(content)
    return card
