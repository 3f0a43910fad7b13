"""Damage in the database is found once per launch, in one line, before anything is written."""

import sqlite3
from contextlib import closing

import pytest
from structlog.testing import capture_logs

from server_proc.database import open_database
from server_proc.database_errors import DatabaseUnusableError
from server_proc.integrity import check_once, find_damage
from server_proc.marks import NewMark
from server_proc.outbox import OutboxLog
from server_proc.store import MarkStore

NOW_MS = 1_769_846_400_500


@pytest.fixture
def checks(monkeypatch):
    """Count how often the whole file is looked through."""
    counted = []
    monkeypatch.setattr("server_proc.integrity.find_damage", lambda *_arguments: counted.append(1))
    return counted


@pytest.fixture
def damaged_path(database_path):
    """A database whose header, schema and counters are whole, and in which a page of marks is rubbish."""
    with closing(open_database(database_path)) as database:
        store = MarkStore(database, OutboxLog(database))
        for n in range(300):
            store.record(NewMark(person_id=str(n)), NOW_MS)
    with closing(sqlite3.connect(database_path)) as connection:
        (page,) = connection.execute(
            "SELECT pageno FROM dbstat WHERE name = 'marks' AND pagetype = 'leaf' ORDER BY pageno LIMIT 1"
        ).fetchone()
    with database_path.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\xff" * 4096)
    return database_path


def test_a_database_that_is_whole_passes(database):
    check_once(database, "a")


def test_it_is_looked_through_once_per_launch_however_often_the_server_starts(database, checks):
    for run_id in ("a", "a", "b", "b", "a"):
        check_once(database, run_id)
    assert len(checks) == 3


def test_damage_among_the_marks_is_refused_in_one_line_and_left_as_it_is(damaged_path):
    before = damaged_path.read_bytes()
    with closing(open_database(damaged_path)) as database:
        for _ in range(2):
            with pytest.raises(DatabaseUnusableError, match="damaged") as caught:
                check_once(database, "a")
    assert "\n" not in str(caught.value)
    assert str(damaged_path) in str(caught.value)
    assert damaged_path.read_bytes() == before


def test_a_check_that_takes_too_long_is_cut_short_and_says_so(database, monkeypatch):
    monkeypatch.setattr("server_proc.integrity._STEPS_BETWEEN_LOOKS", 1)
    with capture_logs() as logs, database.read() as connection:
        assert find_damage(connection, patience_s=0.0) is None
        assert connection.execute("PRAGMA quick_check(1)").fetchone() == ("ok",)
    assert [line["event"] for line in logs] == ["database_check_cut_short"]


def test_a_full_disk_only_postpones_the_note(database, checks):
    with database.write() as transaction:
        (pages,) = transaction.connection.execute("PRAGMA page_count").fetchone()
        transaction.connection.execute(f"PRAGMA max_page_count = {pages}")
    check_once(database, "a" * 100_000)
    check_once(database, "a" * 100_000)
    assert len(checks) == 2


def test_what_stands_in_the_way_of_noting_the_check_is_no_reason_not_to_start(database, database_path, checks):
    with closing(sqlite3.connect(database_path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        check_once(database, "a")
    check_once(database, "a")
    assert len(checks) == 2  # so the next start looks again
