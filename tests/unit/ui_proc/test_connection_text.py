"""The connection pill's words."""

import pytest

from ipc import ClientState
from ui_proc.connection_text import Link, LinkRecord, Pill, ServerNews, Tone, describe


def state(kind, **changes):
    fields = {"attempt": 0, "retry_in_s": None, "resumed": False, "reason": ""} | changes
    return ClientState(kind=kind, **fields)


@pytest.mark.parametrize(
    ("link", "pill"),
    [
        (Link(state=state("live"), message_age_s=3.2), Pill(Tone.GOOD, "Live", "last message 3 s ago")),
        (Link(state=state("live")), Pill(Tone.GOOD, "Live", "no new message yet")),
        (Link(state=state("live"), is_syncing=True), Pill(Tone.BUSY, "Live", "loading the board")),
        (Link(state=state("connecting"), is_loaded=False), Pill(Tone.BUSY, "Connecting")),
        (Link(state=state("connecting")), Pill(Tone.BUSY, "Reconnecting")),
        (Link(state=state("connecting", attempt=2)), Pill(Tone.BUSY, "Reconnecting", "attempt 3")),
        (
            Link(state=state("waiting", attempt=3, retry_in_s=4.2), state_age_s=1.0),
            Pill(Tone.BUSY, "Reconnecting", "attempt 4 in 3 s"),
        ),
        (
            Link(state=state("waiting", attempt=3, retry_in_s=4.2), state_age_s=9.0),
            Pill(Tone.BUSY, "Reconnecting", "attempt 4 in 0 s"),
        ),
        (
            Link(state=state("connecting", attempt=5), server=ServerNews("server restarting, attempt 2")),
            Pill(Tone.BUSY, "Server restarting, attempt 2"),
        ),
        (
            Link(
                state=state("waiting", attempt=1, retry_in_s=2.0, reason="refused"),
                server=ServerNews("server restarting, attempt 2"),
            ),
            Pill(Tone.BUSY, "Server restarting, attempt 2", "next try in 2 s", "refused"),
        ),
        (
            Link(
                state=state("waiting", attempt=1, retry_in_s=2.0),
                server=ServerNews("server given up", "bad config", Tone.BAD),
            ),
            Pill(Tone.BAD, "Server given up", "bad config"),
        ),
        (Link(state=state("stale"), message_age_s=12), Pill(Tone.BUSY, "Server is silent", "last message 12 s ago")),
        (Link(state=state("stale"), state_age_s=12), Pill(Tone.BUSY, "Server is silent", "for 12 s")),
        (Link(state=state("unauthorized", reason="wrong key")), Pill(Tone.BAD, "Not authorized", "wrong key")),
        (Link(state=state("incompatible", reason="speaks 2")), Pill(Tone.BAD, "Incompatible server", "speaks 2")),
        (Link(state=state("stopped")), Pill(Tone.OFF, "Stopped")),
    ],
)
def test_the_pill_says_what_is(link, pill):
    assert describe(link) == pill


def test_a_live_connection_is_believed_over_what_the_launcher_said_before():
    link = Link(state=state("live"), message_age_s=1, server=ServerNews("server restarting, attempt 1"))
    assert describe(link).tone is Tone.GOOD


def test_the_record_counts_ages_from_the_moments_it_was_told():
    record = LinkRecord(state("connecting"), now_s=100.0)
    record.is_loaded, record.is_syncing = True, False
    record.state_changed(state("waiting", attempt=2, retry_in_s=10.0), now_s=110.0)
    assert record.pill(now_s=113.0).detail == "attempt 3 in 7 s"
    record.state_changed(state("live"), now_s=114.0)
    record.message_arrived(now_s=115.0)
    assert record.pill(now_s=120.0).detail == "last message 5 s ago"
