"""Lines on disk and on a descriptor."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import signal
import stat
import threading
from pathlib import Path

import pytest

from launcher.log_file import RenderedStream, RotatingFile, write_all
from launcher.log_writer import PartlyWritten


def test_lines_are_appended_and_only_we_may_read_them(tmp_path: Path) -> None:
    file = tmp_path / "axon.jsonl"
    file.write_bytes(b"from before\n")
    file.unlink()
    for batch in ([b"one"], [b"two", b"three"]):
        it = RotatingFile(file)
        it.write(batch)
        it.close()

    assert file.read_bytes() == b"one\ntwo\nthree\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_rotation_keeps_every_line_and_only_so_many_files(tmp_path: Path) -> None:
    file = tmp_path / "axon.jsonl"
    it = RotatingFile(file, max_bytes=100, keep=3)
    for number in range(40):
        it.write([b"%08d" % number])  # nine bytes each: eleven to a file
    it.close()

    names = ["axon.jsonl.3", "axon.jsonl.2", "axon.jsonl.1", "axon.jsonl"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)
    kept = b"".join((tmp_path / name).read_bytes() for name in names).splitlines()
    assert kept == [b"%08d" % number for number in range(40)]
    assert all((tmp_path / name).stat().st_size <= 100 for name in names)


def test_a_batch_larger_than_a_file_is_written_whole(tmp_path: Path) -> None:
    it = RotatingFile(tmp_path / "axon.jsonl", max_bytes=10, keep=2)
    it.write([b"x" * 50])
    it.write([b"y"])
    it.close()

    assert (tmp_path / "axon.jsonl.1").read_bytes() == b"x" * 50 + b"\n"
    assert (tmp_path / "axon.jsonl").read_bytes() == b"y\n"


def test_a_link_in_place_of_the_file_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "axon.jsonl").symlink_to(tmp_path / "precious")

    with pytest.raises(OSError, match="symbolic"):
        RotatingFile(tmp_path / "axon.jsonl")


def test_a_stream_renders_line_by_line() -> None:
    reader, writer = os.pipe()
    RenderedStream(writer, bytes.upper).write([b"one", b"two"])

    assert os.read(reader, 100) == b"ONE\nTWO\n"
    os.close(reader)
    with pytest.raises(PartlyWritten, match="Broken pipe"):
        RenderedStream(writer).write([b"three"])
    os.close(writer)


def test_a_non_blocking_descriptor_gets_everything_too() -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    data = os.urandom(1 << 20)
    received = bytearray()

    def read() -> None:
        while len(received) < len(data):
            received.extend(os.read(reader, 1 << 16))

    thread = threading.Thread(target=read)
    thread.start()
    write_all(writer, data)
    thread.join(10)
    os.close(reader)
    os.close(writer)

    assert bytes(received) == data


def test_a_file_that_was_moved_or_removed_is_made_anew(tmp_path: Path) -> None:
    file = tmp_path / "logs" / "axon.jsonl"
    it = RotatingFile(file)
    it.write([b"one"])
    file.rename(tmp_path / "moved")
    it.write([b"two"])
    file.unlink()
    it.write([b"three"])
    shutil.rmtree(file.parent)
    it.write([b"four"])
    it.close()

    assert (tmp_path / "moved").read_bytes() == b"one\n"
    assert file.read_bytes() == b"four\n"


def test_a_file_that_was_emptied_in_place_is_written_from_its_beginning(tmp_path: Path) -> None:
    file = tmp_path / "axon.jsonl"
    it = RotatingFile(file, max_bytes=10)
    it.write([b"12345678"])
    os.truncate(file, 0)
    it.write([b"abcdefgh"])
    it.close()

    assert file.read_bytes() == b"abcdefgh\n"
    assert not (tmp_path / "axon.jsonl.1").exists()


def test_while_no_new_file_can_be_made_the_old_one_grows_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "axon.jsonl"
    it = RotatingFile(file, max_bytes=10, keep=2)
    it.write([b"12345678"])

    def refuse(*_arguments: object) -> int:
        raise OSError(errno.ENOSPC, "disk full")

    with monkeypatch.context() as patch:
        patch.setattr("launcher.log_file.os.open", refuse)
        it.write([b"abcdefgh"])
        it.write([b"ABCDEFGH"])
    it.write([b"87654321"])
    it.close()

    assert (tmp_path / "axon.jsonl.1").read_bytes() == b"12345678\nabcdefgh\nABCDEFGH\n"
    assert file.read_bytes() == b"87654321\n"


def test_while_nobody_can_tell_whether_it_is_in_place_the_file_grows_on(tmp_path: Path) -> None:
    directory, moved = tmp_path / "logs", tmp_path / "moved"
    it = RotatingFile(directory / "axon.jsonl")
    it.write([b"one"])
    directory.rename(moved)
    directory.touch()  # what may not be entered any more answers with another error, except to root
    it.write([b"two"])
    it.close()

    assert (moved / "axon.jsonl").read_bytes() == b"one\ntwo\n"


def test_of_a_batch_that_does_not_fit_nothing_is_there(tmp_path: Path) -> None:
    file = tmp_path / "axon.jsonl"
    it = RotatingFile(file)
    it.write([b"one"])
    before, before_signal = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))  # a disk with room for ten bytes
    try:
        with pytest.raises(OSError, match="large"):
            it.write([b"two", b"three"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, before_signal)
    it.write([b"four"])
    it.close()

    assert file.read_bytes() == b"one\nfour\n"


def test_a_stream_that_is_cut_off_says_what_is_there_and_ends_the_half_line_later(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path / "out", os.O_WRONLY | os.O_CREAT)
    it = RenderedStream(descriptor)
    before, before_signal = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (6, before[1]))
    try:
        with pytest.raises(PartlyWritten) as caught:
            it.write([b"one", b"two", b"three"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, before_signal)
    it.write([b"four"])
    os.close(descriptor)

    assert (caught.value.written, caught.value.errno) == (1, errno.EFBIG)
    assert (tmp_path / "out").read_bytes() == b"one\ntw\nfour\n"
