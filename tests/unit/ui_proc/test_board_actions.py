"""BoardActions: what the operator is asked, and what the server is."""

from datetime import datetime
from types import SimpleNamespace

import pytest
from structlog.testing import capture_logs

from ipc import RequestError
from ui_proc.board_actions import REPETITIONS, BoardActions

pytestmark = pytest.mark.usefixtures("qapp")


class Operator:
    """Answers every question with `answer`."""

    def __init__(self):
        self.answer = "something"
        self.questions = []

    def __call__(self, title, question, text):
        self.questions.append((title, question, text))
        return self.answer


@pytest.fixture
def operator():
    return Operator()


@pytest.fixture
def actions(manager, operator):
    return BoardActions(manager, operator)


def asked(manager, number=-1):
    return dict(manager.requests[number][0])


def test_a_mark_by_hand_has_an_id_of_its_own(actions, manager, operator):
    operator.answer = "12345"
    actions.mark_by_hand()
    actions.mark_by_hand()
    first, second = asked(manager, 0), asked(manager, 1)
    assert first.pop("id") != second.pop("id")
    assert first == second == {"type": "mark", "personId": "12345"}


def test_a_void_has_the_reason_that_was_given(actions, manager, operator, make_mark):
    operator.answer = "wrong person"
    actions.void(make_mark(1))
    request = asked(manager)
    assert len(request.pop("id")) == 36
    assert request == {"type": "void", "markId": "mark-1", "reason": "wrong person"}
    assert "person-1" in operator.questions[0][1]


def test_a_person_is_renamed_beginning_with_the_name_so_far(actions, manager, operator):
    operator.answer = "Ada Lovelace"
    actions.rename("1", "Ada")
    assert asked(manager) == {"type": "rename", "personId": "1", "name": "Ada Lovelace"}
    assert operator.questions[0][2] == "Ada"


def test_who_is_marked_already_is_said_with_the_time_in_local_words(actions, manager, qtbot, monkeypatch):
    actions.mark_by_hand()
    at = datetime.now().astimezone().replace(microsecond=0)
    monkeypatch.setattr("ui_proc.board_actions.datetime", SimpleNamespace(now=lambda: at))  # the day ends for nobody
    mark = {"type": "attendance", "id": "a", "markSeq": 7, "personId": "12345", "source": "door"}
    mark |= {"timestamp": at.isoformat(), "receivedAt": at.isoformat()}
    with qtbot.waitSignal(actions.refused) as told:
        manager.answer({"type": "mark", "isNew": False, "duplicate": True, "mark": mark})
    assert told.args == [f"12345 is already marked at {at:%H:%M:%S} (door)."]


@pytest.mark.parametrize("mark", [{}, {"mark": 5}, {"mark": {"type": "attendance"}}])
def test_a_duplicate_without_its_mark_is_said_as_well(actions, manager, qtbot, mark):
    actions.mark_by_hand()
    with qtbot.waitSignal(actions.refused) as told:
        manager.answer({"type": "mark", "isNew": False, "duplicate": True, **mark})
    assert told.args == ["The person is already marked."]


@pytest.mark.parametrize("reply", [{"isNew": True}, {"isNew": False}])
def test_a_mark_that_was_recorded_now_or_by_this_very_request_is_nothing_to_tell(actions, manager, qtbot, reply):
    actions.mark_by_hand()
    with qtbot.assertNotEmitted(actions.refused):
        manager.answer({"type": "mark", **reply})


@pytest.mark.parametrize("answer", [None, "", "Ada"])
def test_who_cancels_or_changes_nothing_asks_for_nothing(actions, manager, operator, answer):
    operator.answer = answer
    actions.rename("1", "Ada")
    assert manager.requests == []


@pytest.mark.parametrize("code", ["disconnected", "timeout"])
def test_what_may_have_been_done_is_asked_for_again_with_the_same_id(actions, manager, qtbot, code):
    actions.mark_by_hand()
    with qtbot.assertNotEmitted(actions.refused):
        manager.answer(RequestError(code, "it died"))
    assert len(manager.requests) == 2
    assert asked(manager, 0) == asked(manager, 1)
    with capture_logs() as logs:
        manager.answer({"type": "mark"})
    assert logs == [{"event": "action_done", "action": "mark", "log_level": "info"}]


def test_after_some_repetitions_the_operator_is_told(actions, manager, qtbot):
    actions.mark_by_hand()
    with qtbot.waitSignal(actions.refused) as told:
        for _ in range(REPETITIONS):
            manager.answer(RequestError("timeout", "no reply"))
    assert told.args == ["no reply"]
    assert len(manager.requests) == REPETITIONS


def test_a_refusal_is_told_in_its_own_words(actions, manager, qtbot, make_mark):
    actions.void(make_mark(1))
    with capture_logs() as logs, qtbot.waitSignal(actions.refused) as told:
        manager.answer(RequestError("already_voided", "the mark was voided at noon"))
    assert told.args == ["the mark was voided at noon"]
    assert logs[0]["code"] == "already_voided"
    assert len(manager.requests) == 1
