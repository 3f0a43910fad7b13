"""What is measured, and against what. Each measure starts its own processes and ends them.

Contestants take turns within a round, and ratios are formed within a round: what else the machine does meanwhile
disturbs all of them. Round trips are measured in three placements, since waking a sleeping processor costs more than
all the rest: both ends on one core, a core each, and as the scheduler likes it.
"""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ipc import Limits
from tests.bench.processes import Child, children
from tests.bench.report import Result, Series, Target, median_ratio, percentile

_CONTESTANTS = "tests.bench.contestants"
_US = 1e6

FLOOR = "raw socket, bytes only (floor)"
CONNECTION = "Connection + json"
ZMQ = "pyzmq + msgspec"
ZMQ_JSON = "pyzmq send_json"
QT = "QLocalSocket + msgspec"
REQUEST = "this channel, request"
MESSAGE = "this channel, message"

_ENDS = {
    FLOOR: ("raw_socket:Server", "raw_socket:Client"),
    CONNECTION: ("bare_connection:Server", "bare_connection:Client"),
    ZMQ: ("zmq_sockets:Server", "zmq_sockets:Client"),
    ZMQ_JSON: ("zmq_sockets:JsonServer", "zmq_sockets:JsonClient"),
    QT: ("qt_local_socket:Server", "qt_local_socket:Client"),
    REQUEST: ("channel:Server", "channel:Client"),
    MESSAGE: ("channel:Server", "channel:MessageClient"),
}


@dataclass(frozen=True)
class Scale:
    """How much is done of each thing."""

    rounds: int
    round_trips: int
    one_way: int
    fan_out: int
    fan_out_rounds: int
    growth_buckets: int
    paced_s: float


FULL = Scale(
    rounds=7, round_trips=1500, one_way=200_000, fan_out=20_000, fan_out_rounds=3, growth_buckets=10, paced_s=2.5
)
QUICK = Scale(rounds=3, round_trips=400, one_way=50_000, fan_out=5_000, fan_out_rounds=1, growth_buckets=3, paced_s=1.0)


# Against others -------------------------------------------------------------------------------------------------------


def round_trips(scale: Scale) -> list[Result]:
    """A payload to the other process and back, one at a time."""
    with _pairs(list(_ENDS)) as pairs:
        return [_round_trips(scale, pairs, title, *cpus) for title, cpus in _placements().items()]


def one_way(scale: Scale) -> list[Result]:
    """Payloads from the server to one client, as fast as they go."""
    names = [CONNECTION, ZMQ, ZMQ_JSON, QT, REQUEST]
    rates: dict[str, list[float]] = {name: [] for name in names}
    with _pairs(names) as pairs:
        for number in range(scale.rounds):
            for name in _in_turn(names, number):
                server, client = pairs[name]
                count = scale.one_way if name in (ZMQ, REQUEST) else scale.one_way // 8  # for the slow a rate is enough
                client.begin("receive", count)
                began = server.call("send", count)
                rates[name].append(count / (client.result() - began))
    ours = rates[REQUEST]
    targets = [
        Target("one way / pyzmq", median_ratio(ours, _better(max, rates[ZMQ], rates[ZMQ_JSON])), 1.0, is_at_most=False),
        Target("one way / Connection + json", median_ratio(ours, rates[CONNECTION]), 4.0, is_at_most=False),
    ]
    labels = {REQUEST: "this channel, broadcast"}
    series = [Series(labels.get(name, name), "messages/s", rates[name]) for name in names]
    return [Result(f"One way to one client, {scale.one_way:,} messages", series, targets)]


def _round_trips(
    scale: Scale, pairs: dict[str, tuple[Child, Child]], title: str, server_cpus: set[int], client_cpus: set[int]
) -> Result:
    p50: dict[str, list[float]] = {name: [] for name in pairs}
    p99: dict[str, list[float]] = {name: [] for name in pairs}
    for server, client in pairs.values():
        server.place(server_cpus)
        client.place(client_cpus)
        _took_s(server, client, 100)
    for number in range(scale.rounds):
        for name in _in_turn(list(pairs), number):
            took_s = _took_s(*pairs[name], scale.round_trips)
            p50[name].append(percentile(took_s, 50) * _US)
            p99[name].append(percentile(took_s, 99) * _US)
    zmq = _better(min, p50[ZMQ], p50[ZMQ_JSON])
    targets = [
        Target("request / floor", median_ratio(p50[REQUEST], p50[FLOOR]), 2.0),
        Target("request / pyzmq", median_ratio(p50[REQUEST], zmq), 0.9),
        Target("message echo / floor", median_ratio(p50[MESSAGE], p50[FLOOR]), 1.6),
        Target("message echo / pyzmq", median_ratio(p50[MESSAGE], zmq), 0.7),
    ]
    series = [Series(name, unit, of[name]) for name in pairs for unit, of in (("us p50", p50), ("us p99", p99))]
    return Result(f"Round trip, {title}", series, targets)


def _took_s(server: Child, client: Child, count: int) -> list[float]:
    server.begin("echo", count)
    took_s: list[float] = client.call("round_trips", count)
    server.result()
    return took_s


# Ours alone -----------------------------------------------------------------------------------------------------------


def fan_out(scale: Scale) -> list[Result]:
    """Broadcasts to 100 clients that cost little, counted as they leave the sockets."""
    crowds, size = 2, 50
    with _address() as address, children((f"{_CONTESTANTS}.channel:Server", address)) as [server]:
        key = bytes.fromhex(Path(f"{address}.key").read_text().strip())
        crowd = ("tests.bench.raw_client:Crowd", address, key, size)
        with children(*[crowd] * crowds) as receivers:
            rates = [_delivery_rate(server, receivers, scale.fan_out, size) for _ in range(scale.fan_out_rounds)]
    series = Series("this channel, broadcast", "deliveries/s", rates)
    target = Target("deliveries/s to 100 clients", series.median, 300_000, is_at_most=False)
    return [Result(f"{crowds * size} clients, {scale.fan_out:,} broadcasts", [series], [target])]


def _delivery_rate(server: Child, receivers: list[Child], count: int, size: int) -> float:
    for receiver in receivers:
        receiver.begin("receive", count)
    began = server.call("send", count)
    ended = max(receiver.result() for receiver in receivers)
    return count * size * len(receivers) / (ended - began)


def resume(scale: Scale) -> list[Result]:
    """100,000 messages that a client has missed, from its start to its handler."""
    missed = 100_000
    with _pair("channel:Server", "channel:ReturningClient") as (server, client):
        server.call("send", 1)
        client.call("receive", 1)
        took_s = []
        for _ in range(scale.fan_out_rounds):
            client.call("leave")
            server.call("send", missed)
            took_s.append(client.call("catch_up", missed))
    series = Series("this channel", "s", took_s)
    return [Result(f"Resume of {missed:,} messages", [series], [Target("seconds", series.median, 1.0)])]


def growth(scale: Scale) -> list[Result]:
    """What a broadcast costs the thread that calls it, while the log grows to a million messages."""
    bucket, buckets = 100_000, scale.growth_buckets
    limits = Limits(log_messages=bucket * buckets + 1000, log_bytes=1 << 40)
    with _address() as address, children((f"{_CONTESTANTS}.channel:Server", address, limits)) as [server]:
        server.call("costs", 1, 10_000)  # everything warm
        costs_us = [cost_s * _US for cost_s in server.call("costs", buckets, bucket)]
    series = Series("this channel, broadcast", "us CPU", costs_us)
    ratio = Target(f"last {bucket:,} / first", costs_us[-1] / costs_us[0], 1.15)
    return [Result(f"Cost while the log grows to {bucket * buckets:,}", [series], [ratio])]


def stopped_client(scale: Scale) -> list[Result]:
    """Ten clients at 5,000 messages a second, with one of them stopped and without."""
    per_s, size = 5_000, 10
    client = f"{_CONTESTANTS}.channel:TimingClient"
    calls_us: dict[bool, list[float]] = {False: [], True: []}
    ages_us: dict[bool, list[float]] = {False: [], True: []}
    with _address() as address, children((f"{_CONTESTANTS}.channel:Server", address)) as [server]:  # noqa: SIM117
        with children(*[(client, address)] * size) as clients:
            for number in range(1 + 2 * scale.fan_out_rounds):
                is_stopped = number % 2 == 0 and number > 0
                took_s, ages_s = _paced(server, clients, int(per_s * scale.paced_s), per_s, is_stopped)
                if number:  # the first round warms up
                    calls_us[is_stopped].append(percentile(took_s, 99) * _US)
                    ages_us[is_stopped].append(percentile(ages_s, 99) * _US)
    labels = {False: "all run", True: "one is stopped"}
    series = [
        *(Series(f"broadcast(), {labels[key]}", "us p99", calls_us[key]) for key in labels),
        *(Series(f"age at the others, {labels[key]}", "us p99", ages_us[key]) for key in labels),
    ]
    targets = [
        Target("broadcast() p99 ms, one is stopped", series[1].median / 1000, 1.0),
        Target("age at the others, stopped / not", median_ratio(ages_us[True], ages_us[False]), 2.0),
    ]
    return [Result(f"{size} clients at {per_s:,} messages/s", series, targets)]


def _paced(
    server: Child, clients: list[Child], count: int, per_s: float, is_stopped: bool
) -> tuple[list[float], list[float]]:
    """Return how long each broadcast took, and how old the messages were at all clients but the first."""
    first, *others = clients
    if is_stopped:
        first.pause()
    try:
        took_s = server.call("send_paced", count, per_s)
        ages_s = [age_s for client in others for age_s in client.call("ages", count)]
    finally:
        first.go_on()
    first.call("ages", count)  # it has missed nothing
    return took_s, ages_s


# ----------------------------------------------------------------------------------------------------------------------

MEASURES: dict[str, Callable[[Scale], list[Result]]] = {
    "round-trip": round_trips,
    "one-way": one_way,
    "fan-out": fan_out,
    "resume": resume,
    "growth": growth,
    "stopped-client": stopped_client,
}


def _placements() -> dict[str, tuple[set[int], set[int]]]:
    """Return where server and client may run, by title."""
    cpus = sorted(os.sched_getaffinity(0))
    placements = {"as the scheduler places them": (set(cpus), set(cpus)), "both on one core": ({cpus[0]}, {cpus[0]})}
    if len(cpus) > 1:
        placements["a core each"] = ({cpus[0]}, {cpus[1]})
    return placements


def _in_turn(names: list[str], number: int) -> list[str]:
    """Return `names` with another one first each round: nobody always comes after the same."""
    start = number % len(names)
    return names[start:] + names[:start]


def _better(choose: Callable[[float, float], float], left: list[float], right: list[float]) -> list[float]:
    return [choose(*pair) for pair in zip(left, right, strict=True)]


@contextmanager
def _address() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="axon-bench-") as directory:
        yield f"{directory}/s"


@contextmanager
def _pair(server: str, client: str) -> Iterator[list[Child]]:
    with _address() as address:
        ends = ((f"{_CONTESTANTS}.{end}", address) for end in (server, client))
        with children(*ends) as started:
            yield started


@contextmanager
def _pairs(names: list[str]) -> Iterator[dict[str, tuple[Child, Child]]]:
    """Start server and client of each contestant; all of them stay, and the ones whose turn it is not wait."""
    with tempfile.TemporaryDirectory(prefix="axon-bench-") as directory:
        calls = [
            (f"{_CONTESTANTS}.{end}", f"{directory}/{number}")
            for number, name in enumerate(names)
            for end in _ENDS[name]
        ]
        with children(*calls) as started:
            yield dict(zip(names, zip(started[::2], started[1::2], strict=True), strict=True))
