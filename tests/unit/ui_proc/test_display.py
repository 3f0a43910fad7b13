"""Whether a window can be opened."""

import socket

from ui_proc.display import find_problem


def test_no_display_at_all_is_named_with_the_remedy():
    problem = find_problem({})
    assert problem.startswith("no display")
    assert "WAYLAND_DISPLAY" in problem


def test_a_display_that_answers_is_no_problem():
    assert find_problem({"DISPLAY": ":7"}, lambda name: name == ":7") == ""


def test_a_display_that_does_not_answer_is_named():
    assert "display :7 cannot be reached" in find_problem({"DISPLAY": ":7"}, lambda _name: False)


def test_a_platform_set_by_hand_is_believed():
    assert find_problem({"QT_QPA_PLATFORM": "minimal"}) == ""


def test_a_wayland_socket_counts(tmp_path):
    environ = {"WAYLAND_DISPLAY": "wayland-0", "XDG_RUNTIME_DIR": str(tmp_path)}
    assert "wayland-0 cannot be reached" in find_problem(environ)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "wayland-0"))
        assert find_problem(environ) == ""


def test_the_real_question_is_answered_where_nothing_listens():
    assert "cannot be reached" in find_problem({"DISPLAY": ":64123"})
