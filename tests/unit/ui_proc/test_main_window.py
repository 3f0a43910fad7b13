"""The window: tabs, shortcuts, settings, and the first paint."""

from datetime import UTC

import pytest
from PySide6.QtCore import Qt

from tests.unit.ui_proc.conftest import TODAY
from ui_proc.board_model import BoardModel
from ui_proc.board_view import BoardView
from ui_proc.main_window import MINIMUM_SIZE_PX, MainWindow, Pages
from ui_proc.messages_model import MessagesModel
from ui_proc.messages_view import MessagesView
from ui_proc.processes_view import ProcessesView
from ui_proc.state import BoardState
from ui_proc.traffic_state import TrafficState


@pytest.fixture
def make_window(qtbot, theme, settings):
    models = []  # a view does not keep its model alive

    def make():
        models.append(BoardModel(BoardState(TODAY, zone=UTC)))
        models.append(MessagesModel(TrafficState()))
        board = BoardView(models[-2], theme, "http://127.0.0.1:1340")
        pages = Pages(board, MessagesView(models[-1], theme), ProcessesView(theme))
        window = MainWindow(pages, theme, settings)
        qtbot.addWidget(window)
        return window

    return make


@pytest.fixture
def window(make_window, qtbot):
    window = make_window()
    with qtbot.waitExposed(window):
        window.show()
    window.activateWindow()
    qtbot.waitUntil(window.isActiveWindow)
    return window


def test_painted_comes_once_after_the_first_paint(make_window, qtbot):
    window = make_window()
    painted = []
    window.painted.connect(lambda: painted.append(True))
    assert painted == []
    window.show()
    qtbot.waitUntil(lambda: painted == [True])
    with qtbot.assertNotEmitted(window.painted):
        window.repaint()


@pytest.mark.parametrize(("key", "tab"), [(Qt.Key.Key_2, 1), (Qt.Key.Key_3, 2), (Qt.Key.Key_1, 0)])
def test_ctrl_and_a_number_choose_the_tab(window, qtbot, key, tab):
    window.tabs.setCurrentIndex((tab + 1) % 3)
    qtbot.keyClick(window, key, Qt.KeyboardModifier.ControlModifier)
    assert (window.tabs.currentIndex(), window.stack.currentIndex()) == (tab, tab)


def test_ctrl_f_goes_to_the_filter_of_the_page(window, qtbot):
    window.tabs.setCurrentIndex(1)
    qtbot.keyClick(window, Qt.Key.Key_F, Qt.KeyboardModifier.ControlModifier)
    qtbot.waitUntil(window.pages.messages.filter.hasFocus)


def test_ctrl_f_on_a_page_without_a_filter_goes_to_the_boards(window, qtbot):
    window.tabs.setCurrentIndex(2)
    qtbot.keyClick(window, Qt.Key.Key_F, Qt.KeyboardModifier.ControlModifier)
    assert window.tabs.currentIndex() == 0
    qtbot.waitUntil(window.pages.board.filter.hasFocus)


def test_f11_fills_the_screen_and_escape_leaves_it(window, qtbot):
    qtbot.keyClick(window, Qt.Key.Key_F11)
    qtbot.waitUntil(window.isFullScreen)
    qtbot.keyClick(window, Qt.Key.Key_Escape)
    qtbot.waitUntil(lambda: not window.isFullScreen())


def test_ctrl_q_closes_the_window(window, qtbot):
    qtbot.keyClick(window, Qt.Key.Key_Q, Qt.KeyboardModifier.ControlModifier)
    qtbot.waitUntil(lambda: not window.isVisible())


def test_tab_and_size_are_kept_for_the_next_start(window, make_window):
    window.resize(810, 610)  # the offscreen screen is 800 x 800
    window.tabs.setCurrentIndex(2)
    window.close()
    later = make_window()
    assert (later.tabs.currentIndex(), later.height()) == (2, 610)


def test_a_stored_tab_that_does_not_exist_is_the_first(make_window, settings):
    settings.setValue("window/tab", "seven")
    assert make_window().tabs.currentIndex() == 0


def test_the_menu_changes_the_theme(window, theme):
    action = next(action for action in window.menu.actions() if "dark" in action.text())
    action.trigger()
    assert theme.choice == "dark"


def test_nothing_in_the_header_is_cut_at_the_smallest_size(window, qtbot):
    window.resize(*MINIMUM_SIZE_PX)
    qtbot.waitUntil(lambda: (window.width(), window.height()) == MINIMUM_SIZE_PX)
    assert window.tabs.width() >= window.tabs.sizeHint().width()
    assert window.pill.width() >= window.pill.minimumSizeHint().width()
