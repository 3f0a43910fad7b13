"""A large burst passes, an endless one does not."""

from __future__ import annotations

from launcher.log_file import KEEP, MAX_BYTES
from launcher.log_share import BURST_BYTES, Bucket, Share

LINE = b"x" * 760  # a thousand bytes in the log
EVENT = b'{"event":"x"}'


def test_a_bucket_is_emptied_and_filled_again() -> None:
    bucket = Bucket(3000, 1000)

    assert bucket.takes([LINE, LINE], 0)
    assert not bucket.takes([LINE, LINE], 0)
    assert bucket.takes([LINE], 0)
    assert not bucket.takes([LINE], 0.5)
    assert bucket.takes([LINE], 1)


def test_a_bucket_holds_no_more_than_it_can_and_time_does_not_run_back() -> None:
    bucket = Bucket(1000, 1000)

    assert bucket.takes([LINE], 1000)
    assert not bucket.takes([LINE], 0)
    assert bucket.takes([LINE], 2000)
    assert not bucket.takes([LINE], 2000)


def test_two_hundred_thousand_lines_pass_and_fit_into_the_file() -> None:
    share = Share()
    batch = [b"x" * 250] * 500

    assert all(share.admitted(batch, 0, are_last=False) is batch for _ in range(400))
    assert MAX_BYTES * KEEP > BURST_BYTES


def test_events_pass_where_output_does_not() -> None:
    share = Share()
    while share.admitted([LINE] * 1000, 0, are_last=False):
        pass

    assert share.admitted([LINE] * 1000 + [EVENT], 0, are_last=False) == [EVENT]
    while share.admitted([EVENT] * 1000, 0, are_last=False):
        pass
    assert share.admitted([EVENT] * 1000, 0, are_last=False) == []
    assert share.admitted([EVENT] * 1000, 0, are_last=True) == [EVENT] * 200
