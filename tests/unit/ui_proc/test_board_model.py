"""BoardModel: batches, the cap, and what a cell says."""

from datetime import UTC, timedelta

import pytest
from PySide6.QtCore import QModelIndex, Qt, QTimer

from tests.unit.ui_proc.conftest import EIGHT, TODAY
from ui_proc.batched_model import FILTER_ROLE, FRESH_ROLE, ROW_ROLE
from ui_proc.board_model import DELAY, PERSON, SOURCE, TIME, BoardModel
from ui_proc.state import Snapshot

pytestmark = pytest.mark.usefixtures("qapp")


@pytest.fixture
def model(state):
    return BoardModel(state, zone=UTC)


def cells(model, row, role=Qt.ItemDataRole.DisplayRole):
    return [model.data(model.index(row, column), role) for column in range(model.columnCount())]


def test_it_keeps_qts_rules_for_models(model, make_mark, qtmodeltester):
    for number in range(1, 20):
        model.apply(number, make_mark(number))
    model.publish()
    qtmodeltester.check(model)


def test_the_cells_say_time_person_source_and_delay(model, make_mark):
    late = make_mark(1, person_id="ana", source="Gate A", received_at=EIGHT + timedelta(seconds=61))
    model.apply(1, late)
    model.publish()
    assert cells(model, 0) == ["08:00:01", "ana", "Gate A", "1 min 00 s late"]
    assert [model.headerData(n, Qt.Orientation.Horizontal) for n in (TIME, PERSON, SOURCE, DELAY)] == [
        "Time",
        "Person",
        "Source",
        "Delay",
    ]


def test_a_mark_without_a_source_shows_a_dash(model, make_mark):
    model.apply(1, make_mark(1))
    model.publish()
    assert cells(model, 0)[SOURCE] == "\N{EN DASH}"


def test_the_tool_tip_tells_both_times_to_the_millisecond(model, make_mark):
    model.apply(1, make_mark(1))
    model.publish()
    assert "Received 2026-03-12 08:00:01.000+00:00" in cells(model, 0, Qt.ItemDataRole.ToolTipRole)[TIME]


def test_the_filter_looks_at_person_and_source(model, make_mark):
    mark = make_mark(1, person_id="ana", source="Gate A")
    model.apply(1, mark)
    model.publish()
    assert model.data(model.index(0, 0), FILTER_ROLE) == "ana\nGate A"
    assert model.data(model.index(0, 0), ROW_ROLE) is mark


def test_many_marks_come_as_one_insert(model, make_mark, qtbot):
    inserts = []
    model.rowsInserted.connect(lambda _parent, first, last: inserts.append((first, last)))
    with qtbot.waitSignal(model.published) as blocker:
        for number in range(1, 41):
            model.apply(number, make_mark(number))
        assert model.rowCount() == 0
    assert inserts == [(0, 39)]
    assert blocker.args == [40]


def test_the_timer_rests_when_nothing_is_pending(model, make_mark):
    assert not model._batch_timer.isActive()
    model.apply(1, make_mark(1))
    assert model._batch_timer.isActive()
    model.publish()
    assert not model._batch_timer.isActive()


def test_a_steady_stream_does_not_put_the_batch_off(model, make_mark):
    starts = []

    class Timer(QTimer):
        def start(self):
            starts.append(True)
            super().start()

    model._batch_timer = Timer(model)
    for number in (1, 2, 3):
        model.apply(number, make_mark(number))
    assert starts == [True]


def test_rows_beyond_the_cap_leave_at_the_bottom(model, make_mark):
    removals = []
    model.rowsRemoved.connect(lambda _parent, first, last: removals.append((first, last)))
    for batch in (range(1, 51), range(51, 54)):
        for number in batch:
            model.apply(number, make_mark(number))
        model.publish()
    assert removals == [(47, 49)]
    assert model.rowCount() == 50
    assert cells(model, 0, ROW_ROLE)[0].mark_seq == 53
    assert cells(model, 49, ROW_ROLE)[0].mark_seq == 4


def test_a_batch_larger_than_the_board_keeps_qts_rules(model, make_mark, qtmodeltester):
    for batch in (range(1, 11), range(11, 200)):
        for number in batch:
            model.apply(number, make_mark(number))
        model.publish()
    assert (model.rowCount(), cells(model, 0, ROW_ROLE)[0].mark_seq) == (50, 199)
    qtmodeltester.check(model)


def test_the_newest_batch_is_fresh_until_it_settles(model, make_mark, qtbot):
    for number in (1, 2, 3):
        model.apply(number, make_mark(number))
        if number != 2:
            model.publish()
    assert [model.data(model.index(row, 0), FRESH_ROLE) for row in range(3)] == [True, True, False]
    with qtbot.waitSignal(model.dataChanged):
        model._fresh_timer.setInterval(0)
    assert not model.data(model.index(0, 0), FRESH_ROLE)


def test_a_snapshot_resets_the_model_and_is_not_fresh(model, make_mark, qtbot):
    with qtbot.waitSignals([model.modelAboutToBeReset, model.modelReset], order="strict"):
        assert model.load(Snapshot(seq=5, marks=[make_mark(5), make_mark(4)], total=2, today=2))
    assert model.rowCount() == 2
    assert not model.data(model.index(0, 0), FRESH_ROLE)


def test_a_new_day_rewrites_the_times(model, make_mark, qtbot):
    model.load(Snapshot(seq=1, marks=[make_mark(1)], total=1, today=1))
    assert not model.roll(TODAY)
    with qtbot.waitSignal(model.dataChanged):
        assert model.roll(TODAY + timedelta(days=1))
    assert cells(model, 0)[TIME] == "12 Mar  08:00:01"


def test_an_index_of_nothing_has_no_data(model):
    assert model.data(QModelIndex(), Qt.ItemDataRole.DisplayRole) is None
    assert model.headerData(9, Qt.Orientation.Horizontal) is None
