"""The traffic log: every message is told once, in a line of its own or within a folded one, and never twice."""

import json
import threading

import pytest
import structlog

from ipc import traffic
from ipc.protocol import ClientMessage, Message, encode_message, encode_payload
from ipc.traffic import LINES_PER_S, Totals, TrafficLog
from tests.unit.ipc.channel import WITHIN_S, LogLines, eventually, run_together, thread_names, watch_folding

TRAFFIC = ("message_sent", "message_received", "traffic")


class Counted:
    """The counters of a channel's end, and the way in which it tells its traffic log of a message."""

    def __init__(self, logger, **options):
        self.totals = Totals(0, 0, 0, 0)
        self.lock = threading.Lock()
        self.lag = 0
        options = {"lag": lambda: self.lag, "log_payloads": False} | options
        self.log = TrafficLog(logger, "test", lambda: self.totals, **options)

    def stop(self):
        self.log.stop(WITHIN_S)  # a busy machine may need longer for the last line than the channel waits

    def send(self, count=1, payload=None):
        encoded = b"\n".join([encode_message(1, 1.0, encode_payload(payload or {"type": "t"}))] * count)
        with self.lock:
            self.totals = self.totals._replace(
                sent=self.totals.sent + count, sent_bytes=self.totals.sent_bytes + len(encoded)
            )
        if not self.log.is_folding:
            self.log.sent("peer", encoded, count)

    def receive(self, count=1, payload=None):
        with self.lock:
            self.totals = self.totals._replace(received=self.totals.received + count)
        if not self.log.is_folding:
            self.log.received("peer", [ClientMessage(1, payload or {"type": "t"})] * count)


@pytest.fixture
def lines():
    return LogLines()


@pytest.fixture
def logger(lines):
    return structlog.wrap_logger(None, processors=[lines], wrapper_class=structlog.make_filtering_bound_logger(0))


@pytest.fixture
def counted(logger):
    counted = Counted(logger)
    yield counted
    counted.stop()


@pytest.fixture
def one_window(monkeypatch):
    """However slow the machine, all that is told is told in one second, which only `stop` ends."""
    monkeypatch.setattr(traffic, "_WINDOW_S", 3600.0)


def told(lines):
    """Return how many messages were told as sent and received, one by one or folded."""
    folded = lines.named("traffic")
    sent = len(lines.named("message_sent")) + sum(line["sent"] for line in folded)
    received = len(lines.named("message_received")) + sum(line["received"] for line in folded)
    return sent, received


@pytest.mark.parametrize(("least", "lines_told"), [("debug", 1), ("info", 0)])
def test_lines_of_a_level_that_is_filtered_cost_nothing(lines, least, lines_told):
    wrapper = structlog.make_filtering_bound_logger(least)
    logger = structlog.wrap_logger(None, processors=[lines], wrapper_class=wrapper)
    counted = Counted(logger, level="debug")
    counted.send()
    counted.receive() if lines_told else counted.log.received("peer", [ClientMessage(1, {"type": "t"})])
    counted.stop()
    assert counted.log.is_folding is not bool(lines_told)
    assert told(lines) == (lines_told, lines_told)


def test_a_few_messages_are_a_line_each(counted, lines):
    counted.send(payload={"type": "attendance", "personId": "12345"})
    counted.receive(payload={"type": "note"})
    sent, received = lines.wait_for(2)
    assert (sent["event"], sent["type"], sent["peer"], sent["channel"]) == (
        "message_sent",
        "attendance",
        "peer",
        "test",
    )
    assert (sent["op"], sent["seq"]) == ("message", 1)
    assert sent["size_bytes"] > 60
    assert (received["event"], received["type"], received["op"], received["id"]) == (
        "message_received",
        "note",
        "message",
        1,
    )


def test_the_request_behind_a_message_is_shown_if_it_is_an_id(lines, counted):
    counted.send(payload={"type": "t", "requestId": "reader-7:42"})
    counted.receive(payload={"type": "t", "requestId": "r1"})
    for no_id in ("Ada Lovelace", "", "x" * 65, "é", 5, None, ["r1"], "a\n"):
        counted.receive(payload={"type": "t", "requestId": no_id})
    assert [line.get("request_id") for line in lines.wait_for(10)] == ["reader-7:42", "r1", *[None] * 8]


def test_payloads_are_shown_only_if_that_was_asked_for(logger, lines, counted):
    counted.send(payload={"type": "t", "personId": "Ada"})
    lines.wait_for(1)
    talkative = Counted(logger, log_payloads=True)
    talkative.send(payload={"type": "t", "personId": "Ada"})
    lines.wait_for(2)
    talkative.stop()
    assert "Ada" not in json.dumps(lines.items[0])
    assert lines.items[1]["payload"] == {"type": "t", "personId": "Ada"}


def test_a_type_is_a_word_and_what_else_is_in_its_place_is_not_told(lines, counted):
    for kind in ("mark", "x" * 100_000, {"name": "Ada"}, ["Ada"], 7, None):
        counted.receive(payload={"type": kind})
    assert [line["type"] for line in lines.wait_for(6)] == ["mark", "x" * 64, None, None, None, None]


@pytest.mark.usefixtures("one_window")
def test_lines_are_written_while_nothing_more_comes(counted, lines):
    """The first at once, not at the end of a second."""
    counted.send()
    lines.wait_for(1)


def test_many_messages_are_folded_and_the_counts_are_exact(counted, lines):
    for _ in range(5000):
        counted.send()
        counted.receive(2)
    eventually(lambda: told(lines) == (5000, 10_000))
    counted.stop()
    assert told(lines) == (5000, 10_000)


@pytest.mark.usefixtures("one_window")
def test_many_messages_of_a_second_are_told_in_few_lines(counted, lines):
    for _ in range(5000):
        counted.send()
        counted.receive(2)
    counted.stop()
    assert told(lines) == (5000, 10_000)
    assert len(lines.items) <= LINES_PER_S + 1


def test_a_batch_is_told_as_what_it_holds(counted, lines):
    counted.send(5)
    lines.wait_for(5)
    counted.send(5000)
    counted.stop()
    assert told(lines) == (5005, 0)


def test_stop_tells_the_rest(logger, lines):
    for count in (1, LINES_PER_S, LINES_PER_S + 1, 1000):
        lines.items.clear()
        counted = Counted(logger)
        for _ in range(count):
            counted.send()
        counted.stop()
        assert told(lines) == (count, 0)


@pytest.mark.usefixtures("one_window")
def test_folded_bytes_are_those_of_the_counters(counted, lines):
    for _ in range(1000):
        counted.send(payload={"text": "x" * 100})
    counted.stop()
    singles = len(lines.named("message_sent"))
    [folded] = lines.named("traffic")
    each = counted.totals.sent_bytes // 1000
    assert folded["sent"] == 1000 - singles
    assert folded["sent_bytes"] == pytest.approx(each * folded["sent"], abs=each)


@pytest.mark.usefixtures("one_window")
def test_how_many_wait_to_be_sent_is_told_with_a_folded_second(counted, lines):
    for number in range(1000):
        counted.lag = number
        counted.send()
    counted.stop()
    assert lines.named("traffic")[-1]["lag"] == 999


@pytest.mark.usefixtures("one_window")
def test_latencies_of_a_folded_second_are_told(counted, lines):
    for number in range(1000):
        counted.send()
        counted.log.latencies_s.append(number / 1_000_000)
    counted.stop()
    [folded] = lines.named("traffic")
    assert folded["p50_ms"] == pytest.approx(0.5, abs=0.01)
    assert folded["p99_ms"] == pytest.approx(0.99, abs=0.01)


def test_after_a_quiet_second_messages_are_told_singly_again(counted, lines, monkeypatch):
    monkeypatch.setattr(traffic, "_WINDOW_S", 0.05)
    has_settled = watch_folding(monkeypatch)
    for _ in range(1000):
        counted.send()
    eventually(lambda: told(lines) == (1000, 0) and has_settled(counted.log))
    before = len(lines.named("message_sent"))
    counted.send()
    lines.wait_for_event("message_sent", before + 1)


def test_no_message_is_told_twice_at_the_moment_when_folding_ends(logger, lines, monkeypatch):
    """It was counted while folding went on, and the thread that counted it looks when it is over."""
    monkeypatch.setattr(traffic, "_WINDOW_S", 0.05)
    is_telling, go_on = threading.Event(), threading.Event()

    def hold_the_first_line():
        is_telling.set()
        go_on.wait(WITHIN_S)
        return 0

    counted = Counted(logger, lag=hold_the_first_line)
    for _ in range(100):
        counted.send()
    assert is_telling.wait(WITHIN_S)
    with counted.lock:
        counted.totals = counted.totals._replace(sent=counted.totals.sent + 1)
    go_on.set()
    eventually(lambda: not counted.log.is_folding)
    eventually(lambda: told(lines)[0] >= 101)
    counted.log.sent("peer", encode_message(1, 1.0, b"{}"), 1)  # by a thread that was held up since it counted
    counted.stop()
    assert told(lines) == (101, 0)


@pytest.mark.parametrize("threads", [1, 6])
def test_counts_stay_exact_over_many_beginnings_and_ends_of_folding(counted, lines, monkeypatch, threads):
    monkeypatch.setattr(traffic, "_WINDOW_S", 0.01)
    rounds = 60

    def talk():
        for number in range(rounds):
            for _ in range(number % 40):
                counted.send()
                counted.receive()
            seen = len(lines.items)
            if number % 7 == 0:
                eventually(lambda seen=seen: not counted.log.is_folding or len(lines.items) > seen)

    run_together(*[talk] * threads)
    counted.stop()
    expected = threads * sum(number % 40 for number in range(rounds))
    assert told(lines) == (expected, expected)


@pytest.mark.parametrize("error", [OSError("broken pipe"), ValueError("closed file"), RecursionError(), KeyError("x")])
def test_a_line_that_cannot_be_written_is_not_the_last(error):
    """A pipe that is gone, a processor that chokes on a payload: the log goes on with the next line."""
    lines = LogLines()

    def choke(_logger, _method, event):
        if event.get("type") == "bad":
            raise error
        return event

    counted = Counted(structlog.wrap_logger(None, processors=[choke, lines]))
    counted.send(payload={"type": "bad"})
    counted.send(payload={"type": "good"})
    lines.wait_until(lambda items: any(line.get("type") == "good" for line in items))
    counted.stop()


def test_a_payload_as_deep_as_the_decoder_takes_is_told(lines, logger):
    """What came from a peer may be nested far deeper than what we would send."""
    deep = {}
    for _ in range(900):
        deep = {"in": deep}
    counted = Counted(logger, log_payloads=True)
    counted.receive(payload=deep)
    counted.receive(payload={"type": "next"})
    lines.wait_until(lambda items: any(line.get("type") == "next" for line in items))
    counted.stop()


def test_nothing_said_is_no_thread(logger):
    log = TrafficLog(logger, "test", lambda: Totals(0, 0, 0, 0), lag=lambda: 0, log_payloads=False)
    log.stop()
    log.sent("peer", encode_message(1, 1.0, b"{}"), 1)  # too late
    assert thread_names("ipc-traffic") == []


def test_replies_tell_their_error(counted, lines):
    counted.log.sent("peer", b'{"op":"reply","id":3,"error":{"code":"no_such_person","message":"Ada"}}', 1)
    [line] = lines.wait_for(1)
    assert (line["op"], line["id"], line["error"]) == ("reply", 3, "no_such_person")
    assert "Ada" not in json.dumps(line)
    assert line["type"] is None


def test_messages_of_the_server_tell_their_seq(counted, lines):
    counted.log.received("server", [Message(7, 1.0, {"type": "t"})])
    [line] = lines.wait_for(1)
    assert (line["event"], line["seq"]) == ("message_received", 7)


def test_only_traffic_events_are_told(counted, lines):
    for _ in range(100):
        counted.send()
    counted.stop()
    assert {line["event"] for line in lines.items} <= set(TRAFFIC)
