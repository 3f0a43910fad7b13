"""`run.py devices`, as the operator sees it."""

import pytest
import structlog

from ipc.command import CommandContext, CommandError
from server_proc.cli import devices
from server_proc.database import open_database
from server_proc.database_errors import DatabaseFullError
from server_proc.devices import DeviceStore


@pytest.fixture(autouse=True)
def _logging_as_it_was():
    before = structlog.get_config()
    yield
    structlog.configure(**before)


@pytest.fixture
def run(tmp_path):
    def run(*arguments, state_dir=None):
        context = CommandContext(
            socket="/unused", state_dir=str(state_dir or tmp_path / "state"), url_of=lambda _socket: "http://unused"
        )
        return devices(list(arguments), context)

    return run


def test_a_key_is_alone_on_stdout_and_shown_once(run, tmp_path, capsys):
    assert run("add", "front door") == 0
    shown = capsys.readouterr()
    (key,) = shown.out.splitlines()
    assert key.startswith("axon_")
    assert key not in shown.err
    database = open_database(tmp_path / "state/attendance.db")
    try:
        assert DeviceStore(database).authenticate(key, 0) == "front door"
    finally:
        database.close()

    run("list")
    shown = capsys.readouterr()
    assert "front door" in shown.out
    assert "valid" in shown.out
    assert key not in shown.out + shown.err


def test_a_revoked_device_is_listed_as_such(run, capsys):
    run("add", "door")
    run("revoke", "door")
    capsys.readouterr()
    run("list")
    (_, row) = capsys.readouterr().out.splitlines()
    assert row.startswith("door")
    assert "revoked" in row
    assert "never" in row


def test_the_state_directory_may_stand_behind_the_action(run, tmp_path):
    run("add", "door", "--state-dir", str(tmp_path / "other"))
    assert (tmp_path / "other/attendance.db").exists()
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize(
    ("arguments", "exit_code", "words"),
    [
        ([], 2, "add|list|revoke"),
        (["frobnicate"], 2, "frobnicate"),
        (["add"], 2, "NAME"),
        (["add", "a", "b"], 2, "b"),
        (["add", ""], 1, "blank"),
        (["list", "--frobnicate"], 2, "--frobnicate"),
        (["list"], 1, "--state-dir"),
        (["revoke", "door"], 1, "--state-dir"),
    ],
)
def test_what_cannot_be_is_one_line(run, arguments, exit_code, words):
    with pytest.raises(CommandError) as caught:
        run(*arguments)
    assert caught.value.exit_code == exit_code
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_mistyped_directory_is_not_made_by_looking(run, tmp_path):
    with pytest.raises(CommandError):
        run("list")
    assert not (tmp_path / "state").exists()


def test_a_name_that_is_taken(run):
    run("add", "door")
    with pytest.raises(CommandError, match="already"):
        run("add", "door")


def test_a_log_line_does_not_get_among_the_keys(run, capsys, monkeypatch):
    def refuse(*_arguments):
        structlog.get_logger().error("disk_full")
        raise DatabaseFullError("the disk is full")

    monkeypatch.setattr(DeviceStore, "add", refuse)
    with pytest.raises(CommandError, match="the disk is full"):
        run("add", "door")
    assert capsys.readouterr() == ("", "")


def test_a_state_directory_that_cannot_be(run, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CommandError, match="cannot open"):
        run("add", "door", state_dir=tmp_path / "file")
