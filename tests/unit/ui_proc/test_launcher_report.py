"""What the launcher reports, and the words for it."""

import pytest

from ui_proc.connection_text import ServerNews, Tone
from ui_proc.launcher_report import Child, read_children, read_sample, server_news, with_sample

STATUS = {
    "run_id": "r",
    "pid": 1,
    "children": [
        {"name": "server", "state": "RUNNING", "pid": 5, "restarts": 1, "uptime_s": 3.5, "cpu_percent": 0.1},
        {"name": "ui", "state": "BACKOFF", "pid": None, "restarts": 2, "uptime_s": None, "last_exit": None},
    ],
}


def test_read_children_takes_a_status_object_and_ignores_what_it_does_not_know():
    server, ui = read_children(STATUS)
    assert (server.name, server.pid, server.restarts, server.uptime_s) == ("server", 5, 1, 3.5)
    assert (ui.state, ui.pid) == ("BACKOFF", None)


def test_a_report_that_does_not_fit_is_refused_naming_the_field():
    with pytest.raises(ValueError, match="restarts"):
        read_children({"children": [{"name": "server", "state": "RUNNING", "restarts": "two"}]})


SAMPLE = {"type": "process_sampled", "child": "server", "child_pid": 5, "cpu_percent": 2.5, "rss_bytes": 1000}


def test_a_sample_replaces_the_figures_of_its_process():
    server, ui = with_sample(read_children(STATUS), read_sample(SAMPLE))
    assert (server.cpu_percent, server.rss_bytes) == (2.5, 1000)
    assert ui == read_children(STATUS)[1]


def test_a_sample_of_a_process_that_is_gone_changes_nothing():
    children = read_children(STATUS)
    assert with_sample(children, read_sample(SAMPLE | {"child_pid": 4})) == children


def test_a_sample_that_does_not_fit_is_refused_naming_the_field():
    with pytest.raises(ValueError, match="child_pid"):
        read_sample(SAMPLE | {"child_pid": "five"})


@pytest.mark.parametrize(
    ("state", "restarts", "attempt", "words"),
    [
        ("RUNNING", 3, 1, ""),
        ("STARTING", 0, 0, "server starting"),
        ("STARTING", 2, 0, "server restarting"),
        ("STARTING", 1, 2, "server restarting, attempt 2"),
        ("BACKOFF", 1, 2, "server restarting, attempt 2"),
        ("FATAL", 5, 5, "server given up"),
        ("STOPPING", 0, 0, "server stopping"),
        ("STOPPED", 0, 0, "server stopped"),
        ("EXITED", 0, 0, "server exited"),
        ("SOMETHING NEW", 0, 0, ""),
    ],
)
def test_the_words_for_the_server(state, restarts, attempt, words):
    ui = Child(name="ui", state="FATAL")
    server = Child(name="server", state=state, restarts=restarts, attempt=attempt)
    assert server_news((ui, server)).words == words


def test_a_server_given_up_is_bad_news_with_its_reason():
    server = Child(name="server", state="FATAL", reason="the port is in use")
    assert server_news((server,)) == ServerNews("server given up", "the port is in use", Tone.BAD)


def test_no_server_in_the_report_means_no_words():
    assert server_news(()) == ServerNews()


@pytest.mark.parametrize(
    ("state", "tone"), [("RUNNING", Tone.GOOD), ("FATAL", Tone.BAD), ("STOPPED", Tone.OFF), ("NEW", Tone.BUSY)]
)
def test_each_state_has_a_tone(state, tone):
    assert Child(name="x", state=state).tone is tone


@pytest.mark.parametrize(
    ("last_exit", "reason", "words"),
    [
        (None, "", ""),
        ({"exit_code": 3, "signal": None, "words": "exit code 3"}, "", "exit code 3"),
        ({"words": "exit code 78"}, "bad config", "bad config"),
        ({"exit_code": 3}, "", ""),
    ],
)
def test_the_last_words_are_the_reason_or_the_last_exit(last_exit, reason, words):
    assert Child(name="x", state="RUNNING", last_exit=last_exit, reason=reason).last_words == words
