"""`run.py simulate`: its options, where it sends to, what it prints. Main thread."""

from __future__ import annotations

import argparse
import getpass
import http.client
import ipaddress
import math
import random
import re
import signal
import sys
from pathlib import Path
from urllib.parse import urlsplit

from ipc.command import CommandContext, CommandError
from server_proc.arrivals import Plan, arrivals
from server_proc.simulator import Figures, Simulator, Target, Unauthorized

MAX_RATE_PER_S = 10_000.0
MAX_PEOPLE = 100_000
MAX_DURATION_S = 7 * 24 * 3600.0
MAX_REASONS = 5
_UNITS_S = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3600}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what `run` reads."""
    parser.add_argument("--rate", type=_rate, default=5.0, metavar="N", help="marks per second, on average (5)")
    parser.add_argument("--people", type=_people, default=200, metavar="N", help="how many people there are (200)")
    parser.add_argument("--for", type=_duration_s, default=60.0, dest="duration_s", metavar="TIME", help="60s, 5m, 1h")
    parser.add_argument("--burst", action="store_true", help="they come in groups")
    parser.add_argument("--duplicates", type=_share, default=0.0, metavar="5%", help="marks that repeat another")
    parser.add_argument("--seed", type=int, help="the same people at the same moments as before")
    parser.add_argument("--url", help="a server's url; default: that of the running instance")
    parser.add_argument("--socket", help="path of the instance's Unix socket")
    parser.add_argument("--key-file", metavar="FILE", help="file with a device's key, for a server that wants one")


def run(options: argparse.Namespace, context: CommandContext) -> int:
    """Send, report, and return 0 if nothing failed. Raises CommandError."""
    url = options.url or context.url_of(options.socket or context.socket)
    target = _target(url, options.key_file)
    _check_alive(target, url)
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(1 << 31)
    plan = Plan(
        rate_per_s=options.rate,
        people=options.people,
        duration_s=options.duration_s,
        duplicates=options.duplicates,
        is_burst=options.burst,
        seed=seed,
    )
    is_terminal = sys.stderr.isatty()
    simulator = Simulator(target, _show_live if is_terminal else lambda _figures: None)
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # `timeout 60 run.py simulate` wants them too
    try:
        simulator.run(arrivals(plan))
    except KeyboardInterrupt:
        pass  # whoever has seen enough wants the figures
    except Unauthorized as error:
        raise CommandError(f"simulate: {url}: {error} Give it with --key-file FILE.") from error
    finally:
        signal.signal(signal.SIGTERM, before)
    if is_terminal:
        print("\r\x1b[K", end="", file=sys.stderr)
    print(summary(simulator.figures, seed))
    return 1 if simulator.figures.failed else 0


def summary(figures: Figures, seed: int) -> str:
    """Return the figures at the end."""
    lines = [
        counts(figures),
        f"from the scheduled time to the answer: {_percentiles(figures.latencies_s)}",
        f"--seed {seed} has the same people come at the same moments",
    ]
    lines[1:1] = [f"  {count} x {reason}" for reason, count in figures.reasons.most_common(MAX_REASONS)]
    return "\n".join(lines)


def counts(figures: Figures) -> str:
    unanswered = figures.sent - figures.accepted - figures.duplicate - figures.failed
    return (
        f"sent {figures.sent}, accepted {figures.accepted}, duplicate {figures.duplicate}, failed {figures.failed},"
        f" retried {figures.retried}" + (f", unanswered {unanswered}" if unanswered else "")
    )


def percentile_s(ordered_s: list[float], percent: int) -> float:
    """Return the smallest value that `percent` of all do not exceed."""
    return ordered_s[max(0, math.ceil(len(ordered_s) * percent / 100) - 1)]


def _percentiles(latencies_s: list[float]) -> str:
    if not latencies_s:
        return "no answers"
    ordered_s = sorted(latencies_s)
    p50_s, p99_s = percentile_s(ordered_s, 50), percentile_s(ordered_s, 99)
    return f"p50 {p50_s * 1000:.1f} ms, p99 {p99_s * 1000:.1f} ms, longest {ordered_s[-1] * 1000:.1f} ms"


def _show_live(figures: Figures) -> None:
    print(f"\r\x1b[K{counts(figures)}; {_percentiles(figures.recent_s)}", end="", file=sys.stderr, flush=True)


def _target(url: str, key_file: str | None) -> Target:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise CommandError(f"simulate: --url {url!r}: {error}", 2) from error
    if parts.scheme not in ("http", "https") or not host or parts.username is not None:
        raise CommandError(f"simulate: --url {url!r}: give one such as http://127.0.0.1:1340", 2)
    is_https = parts.scheme == "https"
    key = _read_key(key_file) if key_file else None if _is_loopback(host) else _ask_key(host)
    return Target(
        host=host,
        port=port or (443 if is_https else 80),
        is_https=is_https,
        prefix=parts.path.rstrip("/"),
        key=key,
    )


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _ask_key(host: str) -> str:
    """Ask for the key where nobody else reads it: arguments and environment are seen by every process."""
    if not sys.stdin.isatty():
        raise CommandError(f"simulate: {host} is another machine or can be reached by others: give --key-file FILE", 2)
    return _checked_key(getpass.getpass(f"Key of a device for {host}: "), "the key")


def _read_key(path: str) -> str:
    try:
        text = Path(path).read_text(encoding="ascii", errors="replace")
    except OSError as error:
        raise CommandError(f"simulate: --key-file {path}: cannot be read: {error.strerror}", 2) from error
    return _checked_key(text, f"--key-file {path}")


def _checked_key(text: str, where: str) -> str:
    key = text.strip()
    if re.fullmatch(r"[!-~]+", key) is None:
        raise CommandError(f"simulate: {where}: one key is needed, in one line", 2)
    return key


def _check_alive(target: Target, url: str) -> None:
    connection = target.connect()
    try:
        connection.request("GET", f"{target.prefix}/healthz")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        raise CommandError(f"simulate: no server answers at {url}: {error}") from error
    finally:
        connection.close()
    if status != http.client.OK:
        raise CommandError(f"simulate: {url}/healthz answered {status}: is that an Axon server?")


def _rate(text: str) -> float:
    return _within(_number(text), MAX_RATE_PER_S, "a number of marks per second", text)


def _people(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"a whole number is needed, not {text!r}")
    return int(_within(int(text), MAX_PEOPLE, "a number of people", text))


def _duration_s(text: str) -> float:
    match = re.fullmatch(r"([0-9.]+)\s*(s|m|min|h)?", text.strip())
    value = _number(match[1]) * _UNITS_S[match[2] or ""] if match else math.nan
    return _within(value, MAX_DURATION_S, "a time such as 60s, 5m or 1h", text)


def _share(text: str) -> float:
    value = _number(text.strip().removesuffix("%"))
    if not 0 <= value <= 90:
        raise argparse.ArgumentTypeError(f"a percentage from 0% to 90% is needed, not {text!r}")
    return value / 100


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _within(value: float, largest: float, words: str, text: str) -> float:
    if not 0 < value <= largest:
        raise argparse.ArgumentTypeError(f"{words}, above 0 and at most {largest:g}, is needed, not {text!r}")
    return value
