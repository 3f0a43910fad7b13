"""The server's own subcommands: `run.py devices` and `run.py simulate`.

Owns what the operator types after the name, and what is printed. Imported when one of them is called. Main thread.
"""

from __future__ import annotations

import argparse
import sys
import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

import structlog

from ipc.command import CommandContext, CommandError
from server_proc.database import DATABASE_NAME, open_database
from server_proc.database_errors import DatabaseError
from server_proc.devices import Device, DeviceError, DeviceStore

EXIT_USAGE = 2


class Parser(argparse.ArgumentParser):
    """Complains as the other subcommands do: in one line."""

    def error(self, message: str) -> NoReturn:
        raise CommandError(f"{self.prog.removeprefix('run.py ')}: {message}", EXIT_USAGE)


def devices(arguments: list[str], context: CommandContext) -> int:
    """Add, list or revoke the keys of devices. The server may run meanwhile, or not."""
    # What is wrong is said in one line at the end; stdout is for the key alone.
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    options = _devices_parser().parse_args(arguments)
    state_dir = Path(options.state_dir).expanduser().absolute() if options.state_dir else Path(context.state_dir)
    path = state_dir / DATABASE_NAME
    if options.action != "add" and not path.exists():  # a mistyped directory would show as one without devices
        raise CommandError(f"devices {options.action}: there is no {path}: name the server's --state-dir")
    try:
        with closing(open_database(path)) as database:
            store = DeviceStore(database)
            if options.action == "list":
                print(_table(store.all()))
            elif options.action == "add":
                _add(store, options.name)
            else:
                store.revoke(options.name, _now_ms())
                _say(f"revoked {options.name}: its key is worth nothing from the next request on")
    except (DatabaseError, DeviceError) as error:
        raise CommandError(f"devices {options.action}: {error}") from error
    return 0


def simulate(arguments: list[str], context: CommandContext) -> int:
    """Post marks to a running instance, as card readers would on a morning."""
    from server_proc import simulate as simulation  # not needed to make a key

    parser = Parser(prog="run.py simulate", description=simulate.__doc__)
    simulation.add_options(parser)
    return simulation.run(parser.parse_args(arguments), context)


def _add(store: DeviceStore, name: str) -> None:
    key = store.add(name, _now_ms())
    _say(f"added {name}. Its key is shown this once; the device sends it as `Authorization: Bearer <key>`:")
    print(key)  # alone on stdout, so that `KEY=$(run.py devices add NAME)` is all it takes


def _devices_parser() -> Parser:
    common = Parser(add_help=False)
    common.add_argument("--state-dir", metavar="DIR", help="where the server keeps its database")
    parser = Parser(prog="run.py devices", description=devices.__doc__)
    actions = parser.add_subparsers(dest="action", required=True, metavar="add|list|revoke")
    for action, words in (("add", "make a key and show it once"), ("revoke", "make a key worthless at once")):
        actions.add_parser(action, parents=[common], help=words).add_argument("name", metavar="NAME")
    actions.add_parser("list", parents=[common], help="show which devices there are")
    return parser


def _table(found: list[Device]) -> str:
    rows = [("device", "added", "last seen", "key")]
    for device in found:
        key = "valid" if device.revoked_ms is None else f"revoked {_moment(device.revoked_ms)}"
        rows.append((device.name, _moment(device.created_ms), _moment(device.last_seen_ms), key))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _moment(unix_ms: int | None) -> str:
    return "never" if unix_ms is None else datetime.fromtimestamp(unix_ms / 1000, UTC).strftime("%Y-%m-%d %H:%MZ")


def _now_ms() -> int:
    return int(time.time() * 1000)


def _say(line: str) -> None:
    print(line, file=sys.stderr)
