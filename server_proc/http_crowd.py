"""Room for new connections: they are taken many at a time, and in a crowd the quietest one makes room.

Also when it is not connections that are short but open files. Knows waitress's server and its channels. Runs on
waitress's main loop.
"""

from __future__ import annotations

import errno
import heapq
import resource
import time
from collections.abc import Callable, Iterable
from typing import Any

import structlog

WANTED_FILES = 4096
OTHER_FILES = 128  # the database, the channel, the log


def connection_limit(hard_limit: int) -> int:
    """Return how many connections there may be where a process may have `hard_limit` open files."""
    is_unlimited = hard_limit == resource.RLIM_INFINITY
    return 512 if is_unlimited else max(128, min(512, hard_limit - OTHER_FILES))


CONNECTION_LIMIT = connection_limit(resource.getrlimit(resource.RLIMIT_NOFILE)[1])
# A turn of the loop looks at every connection there is: with one new connection a turn, hundreds of silent ones would
# make the next one wait for as many looks.
ACCEPTED_AT_ONCE = 32
# From here on new connections take the place of those that have been quiet for longest.
CROWDED = CONNECTION_LIMIT - 2 * ACCEPTED_AT_ONCE
EPISODE_S = 60.0

log = structlog.get_logger()


def raise_file_limit() -> None:
    """Let this process open as many files as it needs, as far as it is allowed to."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED_FILES if hard == resource.RLIM_INFINITY else min(WANTED_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def accept_many(server: Any) -> Callable[[], None]:
    """Return what takes the connections that wait, in place of the server's `handle_accept`, which takes one."""
    accept_one = server.handle_accept

    def accept() -> None:
        for _ in range(ACCEPTED_AT_ONCE):
            before = len(server.active_channels)
            accept_one()
            if len(server.active_channels) == before:
                return  # nobody waits any more

    return accept


def accept_without_files(
    accept: Callable[[], Any], channels: Callable[[], Iterable[Any]], clock: Callable[[], float] = time.monotonic
) -> Callable[[], Any]:
    """Return what stands in for the server's `accept`: where no file can be opened any more, the quietest goes.

    Without it the connection that waits would wake the main loop again and again, and each time be logged.
    """
    last_s = -EPISODE_S

    def accept_or_make_room() -> Any:
        nonlocal last_s
        try:
            return accept()
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE):
                raise
            if clock() - last_s >= EPISODE_S:
                log.error(
                    "connection_refused", reason=error.strerror, remedy="raise the limit of open files (ulimit -n)"
                )
            last_s = clock()
            make_room(channels(), len([each for each in channels() if not each.will_close]) - 1)
            return None

    return accept_or_make_room


def make_room(channels: Iterable[Any], crowded: int = CROWDED) -> None:
    """Close as many connections as there are more than `crowded`.

    None in the middle of an answer, and none whose request has come but not been read: in a crowd of these, as it waits
    where a server has died, who was accepted last would be the quietest. Those beyond the limit wait to be accepted.
    """
    quiet, count = [], 0
    for channel in channels:
        count += not channel.will_close
        if channel.owes_nothing and not channel.will_close:
            quiet.append(channel)
    # Who was never answered goes first: a flood of these must not cost a reader its connection.
    for channel in heapq.nsmallest(count - crowded, quiet, key=lambda each: (each.was_answered, each.last_activity)):
        channel.will_close = not channel.is_unread()
