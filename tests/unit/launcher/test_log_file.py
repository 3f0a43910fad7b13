"""Lines on disk and on a descriptor."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from launcher.log_file import RenderedStream, RotatingFile, write_all


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
    with pytest.raises(BrokenPipeError):
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
