"""Where the value of each option comes from: command line, environment, TOML file or default.

Owns the reading of the TOML file and the words for an origin. Decides nothing about what a value means. Runs on the
main thread, within click's parsing.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path
from typing import Any

import click
import msgspec
from click.core import ParameterSource

from launcher.errors import SettingsError
from launcher.settings import Settings

DEFAULT = "default"
COMMAND_LINE = "command line"
PREFIX = "AXON"
_FILE = "launcher.config_file"
_KINDS = {"str": "a string", "int": "a whole number", "float": "a number", "bool": "true or false"}


def read_file(context: click.Context, parameter: click.Parameter, file: str | None) -> None:
    """Take the TOML file's keys as the defaults of the options. A click callback. Raises SettingsError."""
    if not file:
        return
    try:
        context.default_map = _values(file)
    except SettingsError as error:
        where = origin(context, str(parameter.name))
        raise SettingsError(str(error) if where == COMMAND_LINE else f"{error} ({where} names this file)") from error
    context.meta[_FILE] = file


def origin(context: click.Context, name: str) -> str:
    """Return where the option of this name (as a Settings field) got its value."""
    match context.get_parameter_source(name):
        case ParameterSource.COMMANDLINE:
            return COMMAND_LINE
        case ParameterSource.ENVIRONMENT:
            return variable(name)
        case ParameterSource.DEFAULT_MAP:
            return str(context.meta.get(_FILE, "--config"))
        case _:
            return DEFAULT


def variable(name: str) -> str:
    """Return the environment variable that sets an option."""
    return f"{PREFIX}_{name.upper()}"


def aside(where: str) -> str:
    """Return what an error adds about the origin of a value; nothing where the operator has just typed it."""
    return "" if where in (DEFAULT, COMMAND_LINE) else f" (the value comes from {where})"


def blamed(context: click.Context, error: SettingsError) -> SettingsError:
    """Return the error with the origin of the option that its message begins with."""
    option = str(error).split(maxsplit=1)[0].rstrip(":")
    name = option.removeprefix("--").replace("-", "_")
    if not option.startswith("--") or name not in Settings.__struct_fields__:
        return error
    return SettingsError(f"{error}{aside(origin(context, name))}")


def strangers(environment: list[str]) -> list[str]:
    """Return the variables that look like ours and set nothing: most likely they are misspelt."""
    known = {variable(name) for name in (*Settings.__struct_fields__, "config")}
    return sorted(name for name in environment if name.startswith(f"{PREFIX}_") and name not in known)


def _values(file: str) -> dict[str, Any]:
    try:
        values = tomllib.loads(Path(file).read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"--config {file}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:  # a number of 5,000 digits is not even a TOMLDecodeError
        raise SettingsError(f"--config {file}: not TOML: {error}") from error
    return {key.replace("-", "_"): _checked(file, key, value) for key, value in values.items()}


def _checked(file: str, key: str, value: Any) -> Any:
    """Return a value that click may convert: it would take `true` for a port, and 5 for a path."""
    fields = {field.name: field.type for field in msgspec.structs.fields(Settings)}
    wanted = fields.get(key.replace("-", "_"))
    if wanted is None:
        raise SettingsError(f"--config {file}: unknown key {key!r}; there are {', '.join(sorted(fields))}")
    may_be_whole = wanted is float or key.replace("-", "_") == "max_rss"
    if type(value) is not wanted and not (may_be_whole and type(value) is int):
        raise SettingsError(f"--config {file}: {key}: {_KINDS[wanted.__name__]} is needed, not {value!r}")
    if wanted is float and abs(value) > sys.float_info.max:
        raise SettingsError(f"--config {file}: {key}: a smaller number is needed, not {value}")
    return value
