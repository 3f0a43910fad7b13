"""The command line: options from arguments, environment and file to Settings; errors to one line and an exit code.

Owns what the operator types and reads on stderr. Decides nothing about running. Runs on the main thread.
"""

from __future__ import annotations

import os
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from launcher import launch, remote
from launcher.errors import EXIT_OK, EXIT_USAGE, LauncherError, SettingsError
from launcher.settings import LOG_FORMATS, LOG_LEVELS, UI_MODES, Settings, checked, socket_path_of
from launcher.spec import CHILDREN, UI, ChildSpec
from launcher.status import table
from launcher.wakeup import let_signals_in

_INTERRUPTED = 130
_DEFAULTS = Settings()


def main(arguments: Sequence[str] | None = None, specs: tuple[ChildSpec, ...] = CHILDREN) -> int:
    """Do what the command line asks for; return the exit code. `specs` are the children of a launch."""
    _fill_standard_descriptors()
    try:
        result = axon.main(args=arguments, prog_name="run.py", standalone_mode=False, obj=specs)
    except click.ClickException as error:
        return _complain(error.format_message(), EXIT_USAGE)
    except LauncherError as error:
        return _complain(str(error), error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        return _INTERRUPTED
    return result if isinstance(result, int) else EXIT_OK


def _complain(message: str, exit_code: int) -> int:
    print(f"axon: {' '.join(message.split())}", file=sys.stderr)
    return exit_code


def _fill_standard_descriptors() -> None:
    """Make sure that 0, 1 and 2 are open: else a socket could get number 1, and the log would go into it."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def _read_file(context: click.Context, _parameter: click.Parameter, file: str | None) -> None:
    """Take the TOML file's keys as the defaults of the options."""
    if not file:
        return
    try:
        values = tomllib.loads(Path(file).read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"--config {file}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"--config {file}: not TOML: {error}") from error
    known = set(Settings.__struct_fields__)
    defaults = {key.replace("-", "_"): value for key, value in values.items()}
    for key, value in defaults.items():
        if key not in known:
            raise SettingsError(f"--config {file}: unknown key {key!r}; there are {', '.join(sorted(known))}")
        if not isinstance(value, str | int | bool):
            raise SettingsError(f"--config {file}: {key}: a string, a number or true/false is needed, not {value!r}")
    context.default_map = defaults


@click.group(
    invoke_without_command=True,
    context_settings={"auto_envvar_prefix": "AXON", "show_default": True, "help_option_names": ["-h", "--help"]},
)
@click.option("--socket", default=_DEFAULTS.socket, help="Path of the Unix socket; also names the instance.")
@click.option("--host", default=_DEFAULTS.host, help="Loopback address for HTTP.")
@click.option("--port", type=int, default=_DEFAULTS.port, help="Port for HTTP; 0 takes a free one.")
@click.option("--state-dir", default="", help="Database and logs.  [default: ~/.local/state/axon-attendance]")
@click.option("--ui", type=click.Choice(UI_MODES), default=_DEFAULTS.ui, help="auto: a window if there is a display.")
@click.option("--log-format", type=click.Choice(LOG_FORMATS), default=_DEFAULTS.log_format, help="Format of stdout.")
@click.option("--log-level", type=click.Choice(LOG_LEVELS), default=_DEFAULTS.log_level, help="Least level logged.")
@click.option("--log-payloads", is_flag=True, help="Show messages in the log: they are personal data.")
@click.option("--no-spares", is_flag=True, help="Keep no processes in waiting: less memory, slower restarts.")
@click.option("--exit-on-fatal", is_flag=True, help="End with 70 when a child is given up, for a service manager.")
@click.option(
    "--config",
    is_eager=True,
    expose_value=False,
    callback=_read_file,
    help="TOML file of these options.",
)
@click.pass_context
def axon(context: click.Context, /, **options: Any) -> int | None:
    """Launch the server and the ui, and keep them running.

    Every option is also AXON_<NAME> in the environment and a key of the --config file.
    """
    specs: tuple[ChildSpec, ...] = context.obj
    settings = Settings(**options)
    context.obj = settings
    if context.invoked_subcommand is not None:
        let_signals_in()
        return None
    if settings.ui == "none":
        specs = tuple(spec for spec in specs if spec.name != UI.name)
    return launch.run(checked(settings, os.environ), specs)


_of_instance = click.option("--socket", default=None, help="Path of the instance's Unix socket.", show_default=False)


def _instance(context: click.Context, socket: str | None) -> str:
    return socket_path_of(socket or context.obj.socket)


@axon.command()
@_of_instance
@click.option("--json", "as_json", is_flag=True, help="Print the whole status object.")
@click.pass_context
def status(context: click.Context, socket: str | None, as_json: bool) -> None:
    """Show what runs."""
    found = remote.status(_instance(context, socket))
    click.echo(msgspec.json.encode(found).decode() if as_json else table(found))


@axon.command()
@_of_instance
@click.argument("child")
@click.pass_context
def restart(context: click.Context, socket: str | None, child: str) -> None:
    """Replace a child's process: server, ui or all. Also revives a child that was given up."""
    click.echo(f"restarting {', '.join(remote.restart(_instance(context, socket), child))}")


@axon.command()
@_of_instance
@click.pass_context
def stop(context: click.Context, socket: str | None) -> None:
    """Stop the launcher and its children, and wait for that."""
    click.echo(f"stopped, pid was {remote.stop(_instance(context, socket))}")


@axon.command()
@_of_instance
@click.argument("message")
@click.pass_context
def send(context: click.Context, socket: str | None, message: str) -> None:
    """Send a JSON object to the server, as any client would."""
    try:
        payload = msgspec.json.decode(message, type=dict[str, Any])
    except msgspec.MsgspecError as error:
        raise SettingsError(f"send: a JSON object is needed: {error}") from error
    remote.send(_instance(context, socket), payload)
