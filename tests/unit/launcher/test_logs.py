"""What becomes of a line of a child, and of the launcher's own events."""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from launcher.log_events import Origin
from launcher.log_writer import LogTarget, LogWriter
from launcher.logs import LogPipeline, is_echo

SERVER = Origin("server", 4711)


class Collected:
    """A pipeline whose lines end up in a list."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.has_line = threading.Semaphore(0)
        self.pipeline = LogPipeline("run1", clock=lambda: 0.0)
        target = LogTarget(
            name="list",
            write=self._write,
            count_line=self.pipeline.count_line,
            on_failure=lambda _name, _error: False,
            max_bytes=1 << 20,
            give_way_s=0.001,
        )
        self.pipeline.start([LogWriter(target)])
        self.writers = self.pipeline._writers

    def _write(self, lines: list[bytes]) -> None:
        self.lines += lines
        self.has_line.release()

    def events(self) -> list[dict[str, Any]]:
        self.pipeline.close(5)
        return [json.loads(line) for line in self.lines]

    def of(self, *lines: bytes) -> list[dict[str, Any]]:
        self.pipeline.child_lines(SERVER, list(lines))
        return self.events()


@pytest.fixture
def collected(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collected]:
    monkeypatch.setattr("launcher.log_share.BURST_BYTES", BURST_BYTES)
    it = Collected()
    yield it
    it.pipeline.close(5)


def test_an_event_is_merged_with_where_it_comes_from(collected: Collected) -> None:
    (event,) = collected.of(b'{"event":"mark_stored","level":"info","timestamp":"2026-01-31T08:00:00Z","seq":3}')

    assert list(event) == ["timestamp", "level", "event", "proc", "pid", "run_id", "seq"]
    assert (event["proc"], event["pid"], event["run_id"], event["seq"]) == ("server", 4711, "run1", 3)


def test_an_event_without_time_or_level_gets_them(collected: Collected) -> None:
    (event,) = collected.of(b'{"event":"x"}')

    assert event["timestamp"].endswith("Z")
    assert event["level"] == "info"


def test_a_child_cannot_pass_for_another_process(collected: Collected) -> None:
    (event,) = collected.of(b'{"event":"x","proc":"launcher","pid":1,"run_id":"other"}')

    assert (event["proc"], event["pid"], event["run_id"]) == ("server", 4711, "run1")


@pytest.mark.parametrize(
    "line",
    [
        b"plain text",
        b'{"event": "torn',
        b'{"no": "event"}',
        b'{"event": 7}',
        b'["event"]',
        b"{" * 5000,
        b'{"event": "\xff"}',
    ],
)
def test_anything_else_is_output_with_its_text(collected: Collected, line: bytes) -> None:
    (event,) = collected.of(line)

    assert (event["event"], event["child"], event["child_pid"]) == ("child_output", "server", 4711)
    assert event["text"] == line.decode(errors="backslashreplace")


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("2026-01-31T08:00:00.5Z", "2026-01-31T08:00:00.500000Z"),
        ("2026-01-31T09:00:00+01:00", "2026-01-31T08:00:00.000000Z"),
        ("2026-01-31T08:00:00.000001Z", "2026-01-31T08:00:00.000001Z"),
    ],
)
def test_times_are_utc(collected: Collected, given: str, shown: str) -> None:
    (event,) = collected.of(json.dumps({"event": "x", "timestamp": given}).encode())

    assert event["timestamp"] == shown


@pytest.mark.parametrize("given", ["yesterday", "2026-01-31T08:00:00", 7, None, "0001-01-01T00:00:00+23:00"])
def test_what_is_no_time_is_replaced_by_ours(collected: Collected, given: object) -> None:
    (event,) = collected.of(json.dumps({"event": "x", "timestamp": given, "level": ["loud"]}).encode())

    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", event["timestamp"])
    assert event["timestamp"] != given
    assert event["level"] == "info"


def test_blank_lines_are_nothing(collected: Collected) -> None:
    assert collected.of(b"", b"  ", b"\t") == []


def test_an_event_glued_to_unfinished_output_is_cut_off_it(collected: Collected) -> None:
    output, event = collected.of(b'50 %{"event":"done"}')

    assert output["text"] == "50 %"
    assert event["event"] == "done"


def test_secrets_do_not_pass(collected: Collected) -> None:
    (event,) = collected.of(
        b'{"event":"x","authkey":"5ec2e7","peer":{"device_key":"5ec2e7"},"list":[{"token":"5ec2e7"}]}'
    )

    assert "5ec2e7" not in json.dumps(event)
    assert event["authkey"] == "[redacted]"


def test_a_secret_does_not_pass_behind_escapes(collected: Collected) -> None:
    (event,) = collected.of(b'{"event":"x","\\u0061uth\\u006bey":"5ec2e7"}')

    assert event["authkey"] == "[redacted]"


def test_the_launchers_own_events_take_the_same_way(collected: Collected) -> None:
    before = structlog.get_config()
    collected.pipeline.configure_structlog("info")
    try:
        log = structlog.get_logger()
        log.debug("too_quiet")
        log.info("launcher_ready", url="http://x", strange=object, odd="\ud800")
        try:
            raise ValueError("deep")
        except ValueError:
            log.exception("launcher_crashed", authkey="5ec2e7")
    finally:
        structlog.configure(**before)
    ready, crashed = collected.events()

    assert (ready["event"], ready["proc"], ready["pid"], ready["level"]) == (
        "launcher_ready",
        "launcher",
        os.getpid(),
        "info",
    )
    assert ready["timestamp"].endswith("Z")
    assert "ValueError: deep" in crashed["exception"]
    assert "5ec2e7" not in json.dumps(crashed)


def test_lines_that_had_no_room_are_counted_in_an_event(collected: Collected) -> None:
    event = json.loads(collected.pipeline.count_line("stdout", 12))

    assert (event["event"], event["target"], event["count"]) == ("log_lines_dropped", "stdout", 12)


FLOOD = b"x" * 60_000
BURST_BYTES = 1 << 20


def flood(collected: Collected) -> None:
    """Use up the server's share of the log."""
    collected.pipeline._writers = ()  # nobody has to read that
    for _ in range(BURST_BYTES // len(FLOOD)):
        collected.pipeline.child_lines(SERVER, [FLOOD])
    collected.pipeline._writers = collected.writers


def test_beyond_its_share_a_childs_output_is_counted_and_its_events_are_kept(collected: Collected) -> None:
    flood(collected)
    for _ in range(3):
        collected.pipeline.child_lines(SERVER, [FLOOD, b"", FLOOD] * 100)
    first, *others = collected.of(*[FLOOD] * 100, b'{"event":"child_working"}')

    assert (first["event"], first["proc"]) == ("log_lines_dropped", "launcher")
    assert (first["child"], first["child_pid"]) == ("server", 4711)
    dropped = [event for event in others if event["event"] == "log_lines_dropped"]
    assert [event["event"] for event in others if event not in dropped] == ["child_working"]
    assert first["count"] + sum(event["count"] for event in dropped) == 700


def test_another_child_has_a_share_of_its_own(collected: Collected) -> None:
    flood(collected)
    collected.pipeline.child_lines(Origin("ui", 1), [b"hello"])

    assert [event["text"] for event in collected.events()] == ["hello"]


def test_the_last_lines_of_a_flood_are_kept(collected: Collected) -> None:
    flood(collected)
    collected.pipeline.child_lines(SERVER, [b"%d" % number for number in range(10_000)] + [b"the end"], are_last=True)
    dropped, *kept = collected.events()

    assert (dropped["event"], dropped["count"]) == ("log_lines_dropped", 10_001 - 200)
    assert kept[-1]["text"] == "the end"
    assert len(kept) == 200


def test_a_dump_is_kept_in_the_midst_of_a_flood(collected: Collected) -> None:
    flood(collected)
    collected.pipeline.child_lines(SERVER, [FLOOD, b"Fatal Python error: Aborted", b""])
    collected.pipeline.child_lines(SERVER, [b"Thread 0x1 (most recent call first):", b'  File "x.py", line 1 in f'])

    texts = [event.get("text") for event in collected.events()]
    assert texts[-3:] == [
        "Fatal Python error: Aborted",
        "Thread 0x1 (most recent call first):",
        '  File "x.py", line 1 in f',
    ]


def test_a_dump_has_room_although_the_chunk_before_it_fills_a_queue(collected: Collected) -> None:
    chunk = [b'"' * 79] * 3_200  # within its share, but as events more than the queue of 1 MiB
    collected.pipeline.child_lines(SERVER, [*chunk, b"last words", b"Fatal Python error: Aborted"])

    *events, words, dump = collected.events()
    assert sum(event.get("count", 1) for event in events) == len(chunk)
    assert "log_lines_dropped" in [event["event"] for event in events]
    assert (words["text"], dump["text"]) == ("last words", "Fatal Python error: Aborted")


def test_a_child_that_falls_silent_after_a_flood_is_accounted_for(collected: Collected) -> None:
    flood(collected)
    collected.pipeline.child_lines(SERVER, [b"x" * 2000] * 700)
    assert collected.has_line.acquire(timeout=10)

    told, rest = collected.events()
    assert (told["event"], told["count"]) == ("log_lines_dropped", 500)
    assert (rest["event"], rest["count"]) == ("log_lines_dropped", 200)


@pytest.mark.parametrize("ending", [b"Fatal Python error: Aborted", None])
def test_words_before_a_death_are_kept_although_the_flood_before_them_has_been_counted(
    collected: Collected, ending: bytes | None
) -> None:
    flood(collected)
    collected.pipeline.child_lines(SERVER, [b"x" * 2000] * 700)
    collected.pipeline.child_lines(SERVER, [b"last words"] + [b"y" * 2000] * 100)
    assert collected.has_line.acquire(timeout=10)
    collected.pipeline.child_lines(Origin("ui", 1), [b"another child's"])
    if ending:
        collected.pipeline.child_lines(SERVER, [ending])
    collected.pipeline.child_lines(SERVER, [], are_last=True)

    events = collected.events()
    texts = [event["text"] for event in events if event["event"] == "child_output" and event["proc"] == "server"]
    assert texts.index("last words") == 99
    assert len(texts) == 200 + bool(ending)
    assert sum(event["count"] for event in events if event["event"] == "log_lines_dropped") == 601


def test_the_last_words_are_events_without_secrets_and_the_dump(collected: Collected) -> None:
    collected.pipeline.hide(bytes.fromhex("c0ffee" * 8))
    collected.pipeline.child_lines(
        SERVER, [b'{"event":"x","password":"5ec2e7"}', b"key is c0ffee" + b"c0ffee" * 7, b"Fatal Python error: Aborted"]
    )
    events, dump = collected.pipeline.told(SERVER, collected.pipeline.last_words(SERVER))

    assert [event["event"] for event in events] == ["x", "child_output", "child_output"]
    assert "5ec2e7" not in str(events)
    assert "c0ffee" not in str(events)
    assert dump == ["Fatal Python error: Aborted"]
    assert collected.pipeline.last_words(Origin("server", 1)).lines == ()


def test_a_childs_events_below_the_level_are_left_out_and_its_output_never(collected: Collected) -> None:
    before = structlog.get_config()
    collected.pipeline.configure_structlog("error")
    structlog.configure(**before)

    events = collected.of(b'{"event":"x","level":"info"}', b'{"event":"y","level":"error"}', b"output")
    assert [event["event"] for event in events] == ["y", "child_output"]


def test_what_tells_of_lines_being_followed_is_an_echo() -> None:
    echo = {"event": "message_sent", "channel": "launcher", "type": "log", "peer": "tail-1"}

    assert is_echo(echo)
    assert not is_echo(echo | {"channel": "server"})
    assert not is_echo(echo | {"type": "children"})


def test_everything_is_in_the_ring_too(collected: Collected) -> None:
    collected.of(b'{"event":"x"}', b"y")

    assert collected.pipeline.ring.read(0, 1 << 20).lines == collected.lines


def test_whoever_writes_meanwhile_has_the_same_place_everywhere(collected: Collected) -> None:
    is_putting, other_is_done = threading.Event(), threading.Event()
    written: list[bytes] = []

    class HeldUp:
        def put(self, lines: list[bytes], **_reserve: int) -> None:
            written.extend(lines)
            if not is_putting.is_set():
                is_putting.set()
                other_is_done.wait(0.2)  # no longer: it is to wait for us

    def put_meanwhile() -> None:
        assert is_putting.wait(10)
        collected.pipeline._put([b"two"])
        other_is_done.set()

    collected.pipeline._writers = (HeldUp(),)  # type: ignore[assignment]
    other = threading.Thread(target=put_meanwhile)
    other.start()
    collected.pipeline._put([b"one"])
    other.join()
    collected.pipeline._writers = collected.writers

    assert collected.pipeline.ring.read(0, 1 << 20).lines == written


@pytest.mark.parametrize("depth", [100, 300, 500, 700, 900, 2000])
@pytest.mark.parametrize("opening", [b"[", b'{"key":'])
def test_no_nesting_is_too_deep(collected: Collected, depth: int, opening: bytes) -> None:
    closing = b"]" if opening == b"[" else b"}"
    event, after = collected.of(
        b'{"event":"x","authkey":"5ec2e7","deep":' + opening * depth + b"1" + closing * depth + b"}", b'{"event":"y"}'
    )

    assert event["event"] in ("x", "child_output")
    assert "5ec2e7" not in str(event)
    assert after["event"] == "y"


def test_what_a_process_said_is_forgotten_when_another_is_gone_too(collected: Collected) -> None:
    for pid in range(1, 100):
        collected.pipeline.child_lines(Origin("server", pid), [b"x"])
        collected.pipeline.child_lines(Origin("server", pid), [b"y"], are_last=True)
        assert collected.pipeline.last_words(Origin("server", pid)).lines == (b"x", b"y")

    assert len(collected.pipeline._last_words) == 1
