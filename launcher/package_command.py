"""A subcommand that another package owns, as a command of ours.

Owns how it is called: all that stands behind its name is its own to read. The package is named as an import string and
imported when the command is called. Runs on the main thread.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable

import click

from ipc.command import CommandContext
from launcher import remote
from launcher.settings import Settings, socket_path_of, state_dir_of


def package_command(name: str, entry: str, words: str) -> click.Command:
    """Return the command `name`: `entry` is "module:function", `words` its line in the help."""

    @click.pass_context
    def call(context: click.Context, arguments: tuple[str, ...]) -> int:
        module_name, _, function_name = entry.partition(":")
        function: Callable[[list[str], CommandContext], int] = getattr(
            importlib.import_module(module_name), function_name
        )
        return function(list(arguments), _instance_of(context.obj))

    return click.Command(
        name,
        callback=call,
        params=[click.Argument(["arguments"], nargs=-1, type=click.UNPROCESSED)],
        add_help_option=False,
        context_settings={"ignore_unknown_options": True},
        help=words,
    )


def _instance_of(settings: Settings) -> CommandContext:
    return CommandContext(
        socket=settings.socket,
        state_dir=state_dir_of(settings, os.environ),
        url_of=lambda socket: str(remote.status(socket_path_of(socket))["url"]),
    )
