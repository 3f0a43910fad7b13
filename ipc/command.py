"""What the launcher's command line and a subcommand that lives in another package must agree on.

An entry point is `def command(arguments: list[str], context: CommandContext) -> int`, the exit code. It reads its own
arguments, and runs on the main thread of a process of its own.
"""

from collections.abc import Callable

import msgspec


class CommandError(Exception):
    """The command cannot do what it was asked; one line for the operator. 2 is the exit code for wrong usage."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class CommandContext(msgspec.Struct, frozen=True, kw_only=True):
    """Which instance the command is about, as the options before its name, the environment and the file say."""

    socket: str
    state_dir: str
    url_of: Callable[[str], str]
    """Takes a socket's path and returns where the instance behind it serves HTTP; raises what ends the command."""
