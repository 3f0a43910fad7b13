"""Room for new connections: they are taken many at a time, and in a crowd the quietest one makes room.

Knows waitress's server and its channels. Runs on waitress's main loop.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from typing import Any

CONNECTION_LIMIT = 512
# A turn of the loop looks at every connection there is: with one new connection a turn, hundreds of silent ones would
# make the next one wait for as many looks.
ACCEPTED_AT_ONCE = 32
# From here on new connections take the place of those that have been quiet for longest.
CROWDED = CONNECTION_LIMIT - 2 * ACCEPTED_AT_ONCE


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


def make_room(channels: Iterable[Any]) -> None:
    """Close as many connections as there are too many, none of them in the middle of an answer."""
    quiet, count = [], 0
    for channel in channels:
        count += not channel.will_close
        if channel.owes_nothing and not channel.will_close:
            quiet.append(channel)
    # Who was never answered goes first: a flood of these must not cost a reader its connection.
    for channel in heapq.nsmallest(count - CROWDED, quiet, key=lambda each: (each.was_answered, each.last_activity)):
        channel.will_close = True
