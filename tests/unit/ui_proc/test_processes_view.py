"""The Processes tab: one card per child."""

import pytest

from ui_proc.launcher_report import Child, Sample
from ui_proc.processes_view import ProcessesView

SERVER = Child(
    name="server", state="RUNNING", pid=500, restarts=1, uptime_s=59.0, last_exit={"words": "killed by SIGKILL"}
)
UI = Child(name="ui", state="RUNNING", pid=501, uptime_s=5.0)


@pytest.fixture
def view(qtbot, theme):
    view = ProcessesView(theme)
    qtbot.addWidget(view)
    view.resize(800, 500)
    with qtbot.waitExposed(view):
        view.show()
    return view


def facts(card):
    return [card.text(fact) for fact in ("PID", "Uptime", "Restarts", "Last exit")]


def test_before_a_report_it_says_so(view):
    assert view.empty.isVisible()
    assert "not reported yet" in view.empty.text


def test_each_child_has_a_card(view):
    view.show_children((SERVER, UI))
    assert not view.empty.isVisible()
    assert [card.name for card in view.cards] == ["server", "ui"]
    assert facts(view.cards[0]) == ["500", "59 s", "1", "killed by SIGKILL"]


def test_the_uptime_grows_between_reports(view):
    view.show_children((SERVER, UI))
    view.show_age(3.0)
    assert view.cards[0].text("Uptime") == "1 min 02 s"


def test_a_child_that_is_not_up_has_no_uptime(view):
    view.show_children((Child(name="server", state="BACKOFF", uptime_s=59.0),))
    assert facts(view.cards[0])[:2] == ["\N{EN DASH}", "\N{EN DASH}"]
    assert view.cards[0].state == "Backoff"


def test_a_sample_shows_what_a_child_costs_until_its_process_is_another(view):
    view.show_children((SERVER, UI), age_s=1.0)
    view.show_sample(Sample(child="ui", child_pid=501, cpu_percent=12.34, rss_bytes=90 << 20))
    view.show_sample(Sample(child="server", child_pid=499, cpu_percent=99.0, rss_bytes=1))
    assert (view.cards[1].text("CPU"), view.cards[1].text("Memory")) == ("12.3 %", "90 MiB")
    assert view.cards[1].text("Uptime") == "6 s"
    assert view.cards[0].text("CPU") == "\N{EN DASH}"
    view.show_age(2.0)
    assert view.cards[1].text("CPU") == "12.3 %"


def test_a_shorter_report_hides_the_cards_that_are_left(view):
    view.show_children((SERVER, UI))
    view.show_children((UI,))
    assert [card.isVisible() for card in view.cards] == [True, False]
    assert view.cards[0].name == "ui"


def test_silence_replaces_the_cards_and_a_report_brings_them_back(view):
    view.show_children((SERVER,))
    view.show_silence("The launcher does not answer.")
    assert view.empty.isVisible()
    assert "does not answer" in view.empty.text
    view.show_children((SERVER,))
    assert view.cards[0].isVisible()
