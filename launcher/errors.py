"""Why the launcher cannot do what it was asked; the class is the exit code.

Every message is one line for the operator: which option, what is wrong with it, what to do.
"""

from __future__ import annotations

import errno

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_NO_INSTANCE = 3
EXIT_GAVE_UP = 70
EXIT_ALREADY_RUNNING = 75


class LauncherError(Exception):
    """Base of what ends a command with one line on stderr."""

    exit_code = EXIT_FAILED


class SettingsError(LauncherError):
    """An option, the environment or the configuration file asks for something that cannot be."""

    exit_code = EXIT_USAGE


def refused(option: str, error: Exception) -> LauncherError:
    """Return what stands in the way of `option`: a full disk is not the option's fault, and passes."""
    message = f"{option}: {error}"
    cause = error if isinstance(error, OSError) else error.__cause__
    if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT):
        return LauncherError(f"{message}: make room, then start again")
    return SettingsError(message)


class InstanceRunningError(LauncherError):
    """Another launcher has what this one would need."""

    exit_code = EXIT_ALREADY_RUNNING


class NoInstanceError(LauncherError):
    """There is no launcher to talk to."""

    exit_code = EXIT_NO_INSTANCE
