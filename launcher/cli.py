"""The command line: options from arguments, environment and file to Settings; errors to one line and an exit code.

Owns what the operator types and reads on stderr. Decides nothing about running. Runs on the main thread.
"""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import click
import msgspec

from ipc.command import CommandError
from launcher import remote
from launcher.errors import EXIT_FAILED, EXIT_OK, EXIT_USAGE, LauncherError, SettingsError
from launcher.origins import COMMAND_LINE, PREFIX, aside, blamed, origin, read_file
from launcher.package_command import package_command
from launcher.settings import LOG_FORMATS, LOG_LEVELS, UI_MODES, Settings, checked, socket_path_of
from launcher.spec import CHILDREN, UI, ChildSpec
from launcher.status import table
from launcher.wakeup import let_signals_in

_INTERRUPTED = 130
_DEFAULTS = Settings()


def main(
    arguments: Sequence[str] | None = None,
    specs: tuple[ChildSpec, ...] = CHILDREN,
    commands: Mapping[str, tuple[str, str]] | None = None,
) -> int:
    """Do what the command line asks for; return the exit code. `specs` are the children of a launch.

    `commands` are subcommands of other packages by name: "module:function" as ipc.command describes it, and a line of
    help. The module is imported when the command is called.
    """
    _fill_standard_descriptors()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as stderr has it: a path may not fit into the locale
    for name, (entry, words) in (commands or {}).items():
        axon.add_command(package_command(name, entry, words))
    try:
        result = axon.main(args=arguments, prog_name="run.py", standalone_mode=False, obj=specs)
    except click.ClickException as error:
        return _complain(_explained(error), EXIT_USAGE)
    except (LauncherError, CommandError) as error:
        return _complain(str(error), error.exit_code)
    except BrokenPipeError:
        _abandon_stdout()
        return EXIT_FAILED  # who has read enough knows
    except OSError as error:
        _abandon_stdout()
        return _complain(str(error), EXIT_FAILED)
    except (click.Abort, KeyboardInterrupt):
        return _INTERRUPTED
    return result if isinstance(result, int) else EXIT_OK


def _complain(message: str, exit_code: int) -> int:
    print(f"axon: {' '.join(message.split())}", file=sys.stderr)
    return exit_code


def _say(text: str) -> None:
    """Print to stdout, now: what cannot be written is an error of this command and not of the interpreter's end."""
    try:
        click.echo(text)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        _abandon_stdout()
        raise LauncherError(f"cannot write to stdout: {error.strerror}") from error


def _abandon_stdout() -> None:
    """Send what stdout still holds nowhere: the interpreter tries again at its end, and would complain."""
    with suppress(OSError):  # no descriptor is left: then it complains
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.close(nowhere)


def _explained(error: click.ClickException) -> str:
    """Return what click says, and what it leaves out: where a bad value comes from, where an option belongs."""
    message, context = error.format_message(), error.ctx if isinstance(error, click.UsageError) else None
    if context is None:
        return message
    if isinstance(error, click.BadParameter) and error.param is not None and context.command is axon:
        return f"{message}{aside(origin(context, str(error.param.name)))}"
    if isinstance(error, click.NoSuchOption) and context.command is not axon:
        options = {option for parameter in axon.params for option in parameter.opts}
        if error.option_name in options:
            return f"{message} It belongs before the command: run.py {error.option_name} ... {context.info_name}"
    return message


def _fill_standard_descriptors() -> None:
    """Make sure that 0, 1 and 2 are open: else a socket could get number 1, and the log would go into it."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    # Where they were closed Python has no such objects, and an error would be told on stdout for want of a stderr.
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115 - for the life of the process
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115


@click.group(
    invoke_without_command=True,
    context_settings={"auto_envvar_prefix": PREFIX, "show_default": True, "help_option_names": ["-h", "--help"]},
)
@click.option("--socket", default=_DEFAULTS.socket, help="Path of the Unix socket; also names the instance.")
@click.option("--host", default=_DEFAULTS.host, help="Address for HTTP; all but loopback need device keys.")
@click.option(
    "--allowed-hosts", default="", help="Names, with commas, that HTTP may also be asked for by: need keys too."
)
@click.option("--port", type=int, default=_DEFAULTS.port, help="Port for HTTP; 0 takes a free one.")
@click.option("--state-dir", default="", show_default="~/.local/state/axon-attendance", help="Database and logs.")
@click.option("--ui", type=click.Choice(UI_MODES), default=_DEFAULTS.ui, help="auto: a window if there is a display.")
@click.option("--log-format", type=click.Choice(LOG_FORMATS), default=_DEFAULTS.log_format, help="Format of stdout.")
@click.option("--log-level", type=click.Choice(LOG_LEVELS), default=_DEFAULTS.log_level, help="Least level logged.")
@click.option("--log-payloads", is_flag=True, help="Show messages in the log: they are personal data.")
@click.option("--no-spares", is_flag=True, help="Keep no processes in waiting: less memory, slower restarts.")
@click.option(
    "--hang-after",
    type=float,
    default=_DEFAULTS.hang_after,
    help="Seconds without a heartbeat after which a child is replaced; 0: never, for a debugger.",
)
@click.option("--exit-on-fatal", is_flag=True, help="End with 70 when a child is given up, for a service manager.")
@click.option("--cooldown-s", type=int, default=_DEFAULTS.cooldown_s, help="Seconds until a person counts again.")
@click.option("--max-rss", default="", show_default="no limit", help="Replace a child that holds more, e.g. 300M.")
@click.option(
    "--config",
    is_eager=True,
    expose_value=False,
    callback=read_file,
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
    from launcher import launch  # a status does not wait for what only a launch needs

    if settings.ui == "none":
        specs = tuple(spec for spec in specs if spec.name != UI.name)
    try:
        return launch.run(checked(settings, os.environ), specs)
    except SettingsError as error:
        raise blamed(context, error) from error


_of_instance = click.option("--socket", default=None, help="Path of the instance's Unix socket.", show_default=False)


def _instance(context: click.Context, socket: str | None) -> str:
    return socket_path_of(socket or context.obj.socket)


def _paint(text: str, colour: str) -> str:
    # click.echo takes the colours out again where stdout is no terminal.
    return click.style(text, fg=colour) if colour and not os.environ.get("NO_COLOR") else text


@axon.command()
@_of_instance
@click.option("--json", "as_json", is_flag=True, help="Print the whole status object.")
@click.pass_context
def status(context: click.Context, socket: str | None, as_json: bool) -> None:
    """Show what runs."""
    found = remote.status(_instance(context, socket))
    _say(msgspec.json.encode(found).decode() if as_json else table(found, _paint))


@axon.command()
@_of_instance
@click.argument("child")
@click.pass_context
def restart(context: click.Context, socket: str | None, child: str) -> None:
    """Replace a child's process: server, ui or all. Also revives a child that was given up."""
    _say(f"restarting {', '.join(remote.restart(_instance(context, socket), child))}")


@axon.command()
@_of_instance
@click.pass_context
def stop(context: click.Context, socket: str | None) -> None:
    """Stop the launcher and its children, and wait for that."""
    _say(f"stopped, pid was {remote.stop(_instance(context, socket))}")


@axon.command()
@_of_instance
@click.option("-n", "--lines", type=click.IntRange(min=0), default=20, help="How many lines of the past to begin with.")
@click.option("--json", "as_json", is_flag=True, help="JSON lines also on a terminal.")
@click.pass_context
def tail(context: click.Context, socket: str | None, lines: int, as_json: bool) -> None:
    """Show the log as it comes, until Ctrl-C or the launcher's end."""
    remote.tail(_instance(context, socket), lines, as_json=as_json)


@axon.command()
@_of_instance
@click.argument("message")
@click.pass_context
def send(context: click.Context, socket: str | None, message: str) -> None:
    """Send a JSON object to the server, as any client would."""
    try:
        payload = msgspec.json.decode(message, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise SettingsError(f"send: a JSON object is needed: {error}") from error
    remote.send(_instance(context, socket), payload)


@axon.command()
@_of_instance
@click.option("--json", "as_json", is_flag=True, help="Print the whole report as one object.")
@click.pass_context
def doctor(context: click.Context, socket: str | None, as_json: bool) -> int:
    """Show where each setting comes from, and what stands in the way.

    Changes nothing. Exits with 1 if there is a problem.
    """
    from launcher.doctor import Patient, examine, render  # no launch needs any of it

    assert context.parent is not None
    settings: Settings = context.obj
    origins = {name: origin(context.parent, name) for name in Settings.__struct_fields__}
    if socket is not None:
        settings, origins = msgspec.structs.replace(settings, socket=socket), {**origins, "socket": COMMAND_LINE}
    report = examine(Patient(settings=settings, origins=origins, environment=os.environ))
    # json, not msgspec: a path that is no UTF-8 is a finding, and no reason to fail.
    _say(json.dumps(msgspec.to_builtins(report)) if as_json else render(report, _paint))
    return report.exit_code
