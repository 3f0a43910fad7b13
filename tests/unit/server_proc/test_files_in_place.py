"""A database whose file was taken away under it takes no more writes, and says so once."""

import shutil

import pytest
from structlog.testing import capture_logs

from server_proc.database_errors import DatabaseUnusableError
from server_proc.upkeep import Upkeep


def write(database):
    with database.write() as transaction:
        transaction.connection.execute("INSERT OR REPLACE INTO meta VALUES ('a', '')")


def removed(path):
    path.unlink()


def moved(path):
    path.rename(path.with_name("elsewhere"))


def replaced(path):
    shutil.copyfile(path, path.with_name("copy"))
    path.with_name("copy").rename(path)


@pytest.mark.parametrize("suffix", ["", "-wal"])
@pytest.mark.parametrize("taken_away", [removed, moved, replaced])
def test_it_is_told_once_and_every_write_is_refused_from_then_on(database, outbox, database_path, taken_away, suffix):
    upkeep = Upkeep(database, outbox)
    upkeep.once()
    taken_away(database_path.with_name(database_path.name + suffix))
    with capture_logs() as logs:
        for _ in range(2):
            with pytest.raises(DatabaseUnusableError, match="removed or replaced"):
                upkeep.once()
            with pytest.raises(DatabaseUnusableError, match=r"run\.py restart server"):
                write(database)
    assert [line["event"] for line in logs] == ["database_lost"]


def test_who_asks_whether_it_is_ready_is_told_at_once(get, post, database_path):
    assert post(body={"personId": "1"}).status_code == 201
    assert get("/readyz").status_code == 200
    database_path.unlink()
    with capture_logs():
        answer = get("/readyz")
        assert answer.status_code == 503
        assert "removed or replaced" in answer.json["reasons"][0]
        assert post(body={"personId": "2"}).status_code == 503


def test_what_happens_in_normal_life_is_no_reason_to_worry(database):
    for _ in range(3):
        write(database)
        assert database.empty_log()
        database.check_in_place()
