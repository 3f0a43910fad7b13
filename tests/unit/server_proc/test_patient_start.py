"""Beginning is tried again while the disk is full or the database locked: for a while, and until it is time to stop."""

import pytest
from structlog.testing import capture_logs

from server_proc.database_errors import DatabaseBusyError, DatabaseFullError, DatabaseUnusableError
from server_proc.patient_start import PATIENCE_S, RETRY_S, PatientStart

LOCKED = DatabaseBusyError("locked")
FULL = DatabaseFullError("full")


class Time:
    """A clock that goes on by waiting; it is time to stop from `stop_s` on."""

    def __init__(self):
        self.now_s = 100.0
        self.stop_s = float("inf")

    def wait(self, seconds):
        self.now_s += seconds
        return self.now_s >= self.stop_s

    def __call__(self):
        return self.now_s


@pytest.fixture
def time():
    return Time()


@pytest.fixture
def start(tmp_path, time):
    return PatientStart(tmp_path / "some.db", time.wait, time)


def failing(*errors):
    """Return what raises these, one each time, and then works."""
    remaining = list(errors)

    def begin():
        if remaining:
            raise remaining.pop(0)
        return "begun"

    return begin


def test_a_lock_is_waited_for_and_said_once(start, time):
    with capture_logs() as logs:
        assert start.run(failing(LOCKED, LOCKED, LOCKED)) == "begun"
    assert [line["event"] for line in logs] == ["database_waited"]
    assert time.now_s == 100 + 3 * RETRY_S


def test_room_on_the_disk_is_waited_for_and_the_alarm_taken_back(start):
    with capture_logs() as logs:
        assert start.run(failing(FULL, FULL)) == "begun"
    assert [line["event"] for line in logs] == ["disk_full", "disk_recovered"]


def test_what_works_at_once_says_nothing(start, time):
    with capture_logs() as logs:
        assert start.run(failing()) == "begun"
    assert logs == []
    assert time.now_s == 100


def test_stopping_ends_the_wait(start, time):
    time.stop_s = 102
    with capture_logs():
        assert start.run(failing(*[LOCKED] * 1000)) is None
    assert time.now_s == 102


def test_waiting_ends_with_the_error_before_the_start_looks_like_a_hang(start, time):
    with capture_logs(), pytest.raises(DatabaseBusyError, match="locked"):
        start.run(failing(*[LOCKED] * 1000))
    assert time.now_s == 100 + PATIENCE_S


def test_what_does_not_pass_is_not_waited_for(start, time):
    with pytest.raises(DatabaseUnusableError):
        start.run(failing(DatabaseUnusableError("damaged")))
    assert time.now_s == 100
