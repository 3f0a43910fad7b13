"""Children that give the log something to do."""

from __future__ import annotations

import base64
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import structlog

from ipc.child import ChildContext
from tests.kill.children import steady

log = structlog.get_logger()
FLOOD_BYTES = 100_000_000


def flooding(context: ChildContext) -> int:
    """Print 100 MB of short lines as fast as possible, from SIGUSR1 on, then work."""
    wait_until_told()
    data = (b"x" * 79 + b"\n") * 800
    began_s = time.monotonic()
    for _ in range(FLOOD_BYTES // len(data) + 1):
        os.write(1, data)
    lines = (FLOOD_BYTES // len(data) + 1) * 800
    log.info("flood_finished", took_s=time.monotonic() - began_s, lines=lines)
    return steady(context)


def wait_until_told() -> None:
    told = threading.Event()
    signal.signal(signal.SIGUSR1, lambda *_: told.set())
    log.info("flood_waits")
    told.wait()


def flooding_without_newlines(context: ChildContext) -> int:
    """Print 100 MB that are not even lines, from SIGUSR1 on, then work."""
    wait_until_told()
    data = b"x" * 65536
    began_s = time.monotonic()
    for _ in range(FLOOD_BYTES // len(data) + 1):
        os.write(1, data)
    os.write(1, b"\n")
    log.info("flood_finished", took_s=time.monotonic() - began_s, lines=FLOOD_BYTES // len(data) + 1)
    return steady(context)


def counting(context: ChildContext) -> int:
    """Log 200,000 numbered events, then work."""
    for number in range(200_000):
        log.info("counted", number=number)
    return steady(context)


def dying_in_a_flood(_context: ChildContext) -> int:
    """Exceed its share of the log, and die with words that are not to be lost."""
    for _ in range(4000):
        os.write(1, (b"x" * 79 + b"\n") * 800)
    os.write(2, b"last words\n")
    os.abort()


def failing(context: ChildContext) -> int:
    """Be ready, log some, and leave with exit code 3."""
    context.ready()
    for number in range(300):
        log.info("worked", number=number)
    return 3


def dying_of_many_frames(context: ChildContext) -> int:
    """Be ready, log some, and die deep down, so that the dump is longer than what is kept of the log."""
    context.ready()
    for number in range(50):
        log.info("worked", number=number)
    threads = [threading.Thread(target=go_down, args=(90,), daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    return go_down(90, bottom=os.abort)


def go_down(depth: int, bottom: Callable[[], Any] = signal.pause) -> int:
    """Call yourself so many times, and then `bottom`."""
    return go_down(depth - 1, bottom) if depth else bottom()


def segfaulting_when_stopped(context: ChildContext) -> int:
    """Work, but die by SIGSEGV when told to stop."""
    import faulthandler

    context.on_stop(faulthandler._sigsegv)
    return steady(context)


def indiscreet(context: ChildContext) -> int:
    """Say the key and other secrets in every way, then fail."""
    key = context.authkey
    spelt = [key.hex(), key.hex().upper(), base64.b64encode(key).decode(), repr(key)]
    log.info("secrets_told", authkey=key.hex(), peers=[{"device_key": "5ec2e7"}], headers={"Authorization": "5ec2e7"})
    log.info("secrets_told", words=f"the key is {spelt[0]}", key_as_bytes=key, note="password=5ec2e7 token: 5ec2e7")
    logging.getLogger("some.library").warning("connecting to amqp://ann:5ec2e7@host with %s", spelt)
    for text in spelt:
        print("printed", text)
        print("printed", text, file=sys.stderr)
    print('{"no": "event", "password": "5ec2e7", "cut": "' + key.hex())
    context.ready()
    raise RuntimeError(f"cannot log in with password='5ec2e7' and {spelt[0]}")
