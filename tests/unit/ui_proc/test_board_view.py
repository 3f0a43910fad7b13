"""The Board tab: figures, filter, empty states, and a table that holds still."""

from datetime import UTC, datetime

import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QApplication

from tests.unit.ui_proc.conftest import TODAY
from ui_proc.batched_model import ROW_ROLE, VOID_ROLE
from ui_proc.board_model import PERSON, BoardModel
from ui_proc.board_view import BoardView
from ui_proc.mark_delegate import ROW_HEIGHT_PX, avatar_colors, initials
from ui_proc.state import BoardState, Person, Snapshot, Void

URL = "http://127.0.0.1:1340"


@pytest.fixture
def model():
    return BoardModel(BoardState(TODAY, max_rows=100, zone=UTC), zone=UTC)


@pytest.fixture
def view(qtbot, model, theme):
    view = BoardView(model, theme, URL)
    qtbot.addWidget(view)
    view.resize(1100, 640)
    with qtbot.waitExposed(view):
        view.show()
    return view


def load(model, make_mark, count=0, **fields):
    marks = [make_mark(number, **fields) for number in range(count, 0, -1)]
    model.load(Snapshot(seq=count, marks=marks, total=count, today=count))


def publish(model, make_mark, *numbers):
    for number in numbers:
        model.apply(number, make_mark(number))
    model.publish()


def test_before_the_snapshot_it_says_what_it_waits_for(view):
    assert view.empty.isVisible()
    assert "Waiting for the server" in view.empty.text
    assert view.today.text == "\N{EN DASH}"


def test_an_empty_board_says_where_to_post(view, model, make_mark):
    load(model, make_mark)
    assert view.empty.isVisible()
    assert view.empty.text == f"No marks yet\nPOST one to {URL}/api/attendance"
    assert view.today.text == "0"


def test_the_example_is_a_command_with_its_url(view, model, make_mark):
    load(model, make_mark)
    view.empty.copy.click()
    assert QGuiApplication.clipboard().text().splitlines() == [
        f"curl {URL}/api/attendance \\",
        "  -H 'Content-Type: application/json' \\",
        """  -d '{"personId": "12345"}'""",
    ]


def test_figures_and_rows_follow_the_batches(view, model, make_mark):
    load(model, make_mark, 2)
    publish(model, make_mark, 3, 4)
    assert view.table.isVisible()
    assert not view.empty.isVisible()
    assert (view.today.text, view.people.text, view.total.text) == ("4", "4", "4")
    assert view.shown.text() == "4 rows"


def test_large_figures_have_separators(view, model, make_mark):
    model.load(Snapshot(seq=1, marks=[make_mark(1)], total=1_234_567, today=1_000))
    assert (view.today.text, view.total.text) == ("1,000", "1,234,567")


def test_the_filter_narrows_by_person_or_source_in_any_case(view, model, make_mark, qtbot):
    load(model, make_mark, 9, source="Gate A")
    qtbot.keyClicks(view.filter, "PERSON-3")
    assert view.shown.text() == "1 of 9 rows"
    view.filter.setText("gate")
    assert view.shown.text() == "9 rows"


def test_a_filter_is_no_pattern(view, model, make_mark):
    load(model, make_mark, 9)
    view.filter.setText("person.3")
    assert view.table.proxy.rowCount() == 0


def test_a_filter_without_a_match_says_so(view, model, make_mark):
    load(model, make_mark, 9)
    view.filter.setText("nobody")
    assert view.empty.isVisible()
    assert view.empty.text.startswith("No match\nNone of 9 rows contains")
    view.filter.clear()
    assert view.table.isVisible()


def test_a_reader_further_down_keeps_the_row_in_sight(view, model, make_mark):
    load(model, make_mark, 60)
    bar = view.table.verticalScrollBar()
    bar.setValue(20 * ROW_HEIGHT_PX)
    seen = view.table.indexAt(view.table.viewport().rect().topLeft()).data(ROW_ROLE)
    publish(model, make_mark, 61, 62, 63)
    assert view.table.indexAt(view.table.viewport().rect().topLeft()).data(ROW_ROLE) is seen


def test_at_the_top_new_rows_come_into_sight(view, model, make_mark):
    load(model, make_mark, 60)
    publish(model, make_mark, 61)
    assert view.table.indexAt(view.table.viewport().rect().topLeft()).data(ROW_ROLE).mark_seq == 61


def test_the_chart_shows_the_hours_and_names_the_busiest(view, model, make_mark):
    load(model, make_mark, 5)
    view.show_time(datetime(2026, 3, 12, 8, 30, tzinfo=UTC))
    assert view.peak.text() == "busiest at 08:00 with 5"
    assert view.chart.per_hour[8] == 5


def test_the_bar_of_the_busiest_hour_is_the_highest(view, model, make_mark):
    load(model, make_mark, 5)
    view.show_time(datetime(2026, 3, 12, 8, 30, tzinfo=UTC))
    chart = view.chart
    image = chart.grab().toImage()
    scale = image.devicePixelRatio()
    ground = image.pixelColor(int(chart.width() / 24 * 3.5 * scale), int(20 * scale))
    assert image.pixelColor(int(chart.width() / 24 * 8.5 * scale), int(20 * scale)) != ground


@pytest.mark.parametrize(
    ("person_id", "text"),
    [("12345", "45"), ("ana.kovacs", "AK"), ("mei-lin", "ML"), ("bo", "BO"), ("7", "7"), ("Ana Maria Diaz", "AD")],
)
def test_initials_tell_one_id_from_the_next(person_id, text):
    assert initials(person_id) == text


def test_a_person_has_the_same_colour_in_every_session():
    assert avatar_colors("ana.kovacs", is_dark=False)[0].hue() == 180
    assert avatar_colors("ana.kovacs", is_dark=True)[0].hue() == 180


def test_every_cell_can_be_painted(view, model, make_mark):
    load(model, make_mark, 3, source="Gate A", person_id="p" * 128)
    publish(model, make_mark, 4)
    view.table.selectRow(1)
    assert not view.table.grab().toImage().isNull()


def test_a_voided_mark_is_painted_and_told_as_such_and_the_figures_follow(view, model, make_mark):
    load(model, make_mark, count=3)
    model.apply(4, Void(mark_id="mark-3", reason="twice"))
    assert view.today.text == "2"
    index = model.index(0, PERSON)
    assert index.data(VOID_ROLE)
    assert index.data(Qt.ItemDataRole.ToolTipRole) == "person-3\nVoided: twice"
    assert not model.index(1, PERSON).data(VOID_ROLE)


def test_a_name_is_shown_with_the_id_and_can_be_filtered_by(view, model, make_mark):
    load(model, make_mark, count=3)
    model.apply(4, Person(person_id="person-2", name="Ada Lovelace"))
    assert model.index(1, PERSON).data() == "Ada Lovelace  (person-2)"
    view.filter.setText("lovelace")
    assert view.table.proxy.rowCount() == 1


def test_the_menu_of_a_mark_asks_for_a_void_or_another_name(view, model, make_mark, qtbot):
    load(model, make_mark, count=1)
    mark = model.state.rows[0]
    void, rename = view.menu_for(mark).actions()
    with qtbot.waitSignal(view.void_asked) as asked:
        void.trigger()
    assert asked.args == [mark]
    with qtbot.waitSignal(view.rename_asked) as asked:
        rename.trigger()
    assert asked.args == ["person-1", ""]
    model.apply(2, Void(mark_id="mark-1", reason="twice"))
    assert not view.menu_for(mark).actions()[0].isEnabled()


def test_the_menu_opens_on_a_row_and_nowhere_else(view, model, make_mark):
    load(model, make_mark, count=1)
    row = view.table.visualRect(view.table.proxy.index(0, PERSON)).center()
    view.table.customContextMenuRequested.emit(row + QPoint(0, 300))
    assert QApplication.activePopupWidget() is None
    view.table.customContextMenuRequested.emit(row)
    menu = QApplication.activePopupWidget()
    assert menu is not None
    menu.close()


def test_a_button_asks_for_a_mark_by_hand(view, qtbot):
    with qtbot.waitSignal(view.mark_asked):
        view.mark_button.click()
