"""Who makes room when there are too many connections, and how many are taken at a time."""

import errno
import resource
from types import SimpleNamespace

import pytest
from structlog.testing import capture_logs

from server_proc.http_crowd import (
    ACCEPTED_AT_ONCE,
    CONNECTION_LIMIT,
    CROWDED,
    EPISODE_S,
    accept_many,
    accept_without_files,
    connection_limit,
    make_room,
)


def channel(last_activity, was_answered=False, owes_nothing=True, will_close=False, is_unread=False):
    return SimpleNamespace(
        last_activity=last_activity,
        was_answered=was_answered,
        owes_nothing=owes_nothing,
        will_close=will_close,
        is_unread=lambda: is_unread,
    )


def closed(channels):
    return [each.last_activity for each in channels if each.will_close]


def test_as_many_go_as_are_too_many_and_the_quietest_first():
    channels = [channel(number) for number in range(CROWDED + 3)]
    make_room(channels)
    assert closed(channels) == [0, 1, 2]
    make_room(channels)  # they are still there, and about to go
    assert closed(channels) == [0, 1, 2]


def test_nobody_goes_while_there_is_room():
    channels = [channel(number) for number in range(CROWDED)]
    make_room(channels)
    assert closed(channels) == []


def test_who_was_answered_outlasts_who_never_was_and_who_is_owed_an_answer_stays():
    readers = [channel(number, was_answered=True) for number in range(10)]
    busy = [channel(number, owes_nothing=False) for number in range(10)]
    strangers = [channel(1000 + number) for number in range(CROWDED)]
    make_room([*readers, *busy, *strangers])
    assert closed(readers) == closed(busy) == []
    assert closed(strangers) == list(range(1000, 1020))


def test_whose_request_has_come_and_was_not_read_yet_stays():
    busy = [channel(number, owes_nothing=False) for number in range(CROWDED)]
    arrived = [channel(1000 + number, is_unread=True) for number in range(10)]
    make_room([*busy, *arrived])
    assert closed(arrived) == []


def test_where_all_are_owed_an_answer_nobody_goes():
    channels = [channel(number, owes_nothing=False) for number in range(CONNECTION_LIMIT)]
    make_room(channels)
    assert closed(channels) == []


def accepting(waiting):
    server = SimpleNamespace(active_channels={}, calls=0)

    def accept_one():
        server.calls += 1
        if len(server.active_channels) < waiting:
            server.active_channels[server.calls] = object()

    server.handle_accept = accept_one
    accept_many(server)()
    return server


def test_all_that_wait_are_taken_up_to_a_limit():
    assert len(accepting(5).active_channels) == 5
    assert accepting(5).calls == 6
    assert accepting(0).calls == 1
    assert len(accepting(1000).active_channels) == ACCEPTED_AT_ONCE
    assert CROWDED + ACCEPTED_AT_ONCE < CONNECTION_LIMIT


def test_where_no_file_can_be_opened_the_quietest_goes_and_the_log_says_so_once_an_episode():
    now_s = [1000.0]
    channels = [channel(number) for number in range(5)]

    def accept():
        raise OSError(errno.EMFILE, "Too many open files")

    accept_or_make_room = accept_without_files(accept, lambda: channels, lambda: now_s[0])
    with capture_logs() as logs:
        for _ in range(3):
            assert accept_or_make_room() is None
        assert closed(channels) == [0, 1, 2]
        assert len(logs) == 1
        now_s[0] += EPISODE_S
        accept_or_make_room()
    assert [line["event"] for line in logs] == ["connection_refused"] * 2


def test_other_errors_of_accepting_stay_what_they_are():
    def accept():
        raise OSError(errno.ENOTSOCK, "Not a socket")

    with pytest.raises(OSError, match="Not a socket"):
        accept_without_files(accept, list)()


def test_there_are_no_more_connections_than_files():
    assert connection_limit(resource.RLIM_INFINITY) == connection_limit(1 << 20) == 512
    assert connection_limit(400) == 272
