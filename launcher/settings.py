"""What the operator asked for, checked.

Owns the meaning of the options and the paths derived from them. Reads the environment and looks at paths, binds
nothing and starts nothing. Runs on the main thread before anything else does.
"""

from __future__ import annotations

import errno
import hashlib
import ipaddress
import os
import re
from collections.abc import Mapping
from pathlib import Path

import msgspec

from ipc.endpoint import DEFAULT_SOCKET_PATH, MAX_PATH_BYTES, check_path
from ipc.errors import AddressError
from launcher.errors import SettingsError, refused
from launcher.sizes import parse_size, size_words

DEFAULT_PORT = 1340
UI_MODES = ("auto", "offscreen", "none")
LOG_FORMATS = ("auto", "console", "json")
LOG_LEVELS = ("debug", "info", "warning", "error")
MAX_COOLDOWN_S = 24 * 60 * 60
_HOST_NAME = re.compile(r"(?!-)[a-z0-9._-]{1,253}(?::[1-9][0-9]{0,4})?", re.ASCII)
LEAST_MAX_RSS_BYTES = 16 << 20  # no Python process is smaller: it would be restarted for ever
LEAST_HANG_AFTER_S = 3.0  # the ui, which beats no more once its window is closed, takes up to two to say goodbye
MOST_HANG_AFTER_S = 86_400.0
_HEADLESS_PLATFORMS = ("offscreen", "minimal")


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The options of one launch."""

    socket: str = DEFAULT_SOCKET_PATH
    host: str = "127.0.0.1"
    allowed_hosts: str = ""
    port: int = DEFAULT_PORT
    state_dir: str = ""
    ui: str = "auto"
    log_format: str = "auto"
    log_level: str = "info"
    log_payloads: bool = False
    no_spares: bool = False
    exit_on_fatal: bool = False
    cooldown_s: int = 60
    hang_after: float = 5.0
    max_rss: str = ""

    @property
    def max_rss_bytes(self) -> int | None:
        """How much memory a child and its descendants may hold; None is no limit. Raises ValueError."""
        return parse_size(self.max_rss) if self.max_rss else None

    @property
    def control_socket(self) -> str:
        """Where the launcher itself listens."""
        return control_path(self.socket)


def socket_path_of(given: str) -> str:
    """Return the absolute path that `--socket` means; an empty one stays empty, for the check to name."""
    return str(Path(given).expanduser().absolute()) if given else ""


def control_path(socket_path: str) -> str:
    """Return the control socket's path: beside the data plane's, with a short name where the long one does not fit."""
    path = Path(socket_path)
    if not path.name:
        return ""
    plain = str(path.with_name(f"{path.stem}-control.sock"))
    if len(os.fsencode(plain)) <= MAX_PATH_BYTES:
        return plain
    return str(path.with_name(hashlib.blake2s(os.fsencode(path.name), digest_size=4).hexdigest()))


def checked(settings: Settings, environment: Mapping[str, str]) -> Settings:
    """Return the settings with absolute paths and defaults filled in. Raises SettingsError."""
    settings = msgspec.structs.replace(
        settings,
        socket=socket_path_of(settings.socket),
        state_dir=state_dir_of(settings, environment),
    )
    _check_socket(settings)
    _check_host(settings.host)
    allowed_hosts_of(settings)
    if not 0 <= settings.port <= 65535:
        raise SettingsError(f"--port {settings.port}: choose 1 to 65535, or 0 for a free port")
    if not 0 <= settings.cooldown_s <= MAX_COOLDOWN_S:
        raise SettingsError(f"--cooldown-s {settings.cooldown_s}: choose 0 to {MAX_COOLDOWN_S} seconds")
    _check_max_rss(settings)
    _check_hang_after(settings.hang_after)
    return settings


def allowed_hosts_of(settings: Settings) -> tuple[str, ...]:
    """Return the names in `--allowed-hosts`. Raises SettingsError."""
    names = tuple(name.strip().lower() for name in settings.allowed_hosts.split(",") if name.strip())
    for name in names:
        if _HOST_NAME.fullmatch(name) is None:
            raise SettingsError(
                f"--allowed-hosts: {name!r} is not a host name such as axon.example or axon.example:8443;"
                " separate several with commas"
            )
    return names


def state_dir_of(settings: Settings, environment: Mapping[str, str]) -> str:
    """Return the absolute path of the state directory."""
    return str(Path(settings.state_dir or _default_state_dir(environment)).expanduser().absolute())


def make_state_dir(path: str) -> None:
    """Create the state directory and its `logs`, for us alone. Raises SettingsError."""
    for directory in (Path(path), Path(path, "logs")):
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise refused(f"--state-dir {path}", error) from error
            raise SettingsError(
                f"--state-dir {path}: cannot create {directory}: {error.strerror}; choose a directory you can write to"
            ) from error
        if not os.access(directory, os.W_OK | os.X_OK):
            raise SettingsError(f"--state-dir {path}: {directory} is not writable; choose one you can write to")


def why_offscreen(ui: str, environment: Mapping[str, str]) -> str | None:
    """Return why the ui gets no window, or None when it gets one."""
    if ui == "offscreen":
        return "--ui offscreen"
    platform = environment.get("QT_QPA_PLATFORM", "")
    if platform.split(":")[0] in _HEADLESS_PLATFORMS:
        return f"QT_QPA_PLATFORM={platform}"
    if platform or environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY"):
        return None
    return "no DISPLAY or WAYLAND_DISPLAY"


def _default_state_dir(environment: Mapping[str, str]) -> Path:
    """Return where things are kept when nobody says otherwise."""
    base = environment.get("XDG_STATE_HOME", "")
    # The XDG specification: a relative path there is invalid and to be ignored.
    return (Path(base) if base.startswith("/") else Path("~/.local/state")) / "axon-attendance"


def _check_socket(settings: Settings) -> None:
    for option, path in (("--socket", settings.socket), ("--state-dir", settings.state_dir)):
        if not path.isprintable():
            raise SettingsError(f"{option} {path!r}: choose a path of printable characters")
    if not Path(settings.socket).name and settings.socket:
        raise SettingsError(f"--socket {settings.socket}: give the path of a file to be")
    try:
        check_path(settings.socket)
    except AddressError as error:
        raise SettingsError(f"--socket: {error}") from error
    try:
        check_path(settings.control_socket)
    except AddressError as error:
        reason = f"--socket: choose a shorter path; the control socket's beside it does not fit: {error}"
        raise SettingsError(reason) from error
    directory = Path(settings.socket).parent
    if not directory.is_dir():
        raise SettingsError(f"--socket {settings.socket}: {directory} is not a directory; create it or choose another")
    if not os.access(directory, os.W_OK | os.X_OK):
        raise SettingsError(f"--socket {settings.socket}: {directory} is not writable; choose another directory")


def _check_hang_after(hang_after_s: float) -> None:
    if hang_after_s != 0 and not LEAST_HANG_AFTER_S <= hang_after_s <= MOST_HANG_AFTER_S:
        raise SettingsError(
            f"--hang-after {hang_after_s:g}: choose {LEAST_HANG_AFTER_S:g} to {MOST_HANG_AFTER_S:g} seconds, "
            "or 0 to take no child for hung"
        )


def _check_host(host: str) -> None:
    """Check that `host` is an address. Whether others may reach it is for the server to say, which has the keys."""
    try:
        if host != "localhost":
            ipaddress.ip_address(host)
    except ValueError:
        raise SettingsError(
            f"--host {host!r}: give an address: 127.0.0.1 or ::1 for this machine alone, one of its own addresses or"
            " 0.0.0.0 for others too; names for it go into --allowed-hosts"
        ) from None


def _check_max_rss(settings: Settings) -> None:
    try:
        limit_bytes = settings.max_rss_bytes
    except ValueError as error:
        raise SettingsError(f"--max-rss: {error}") from error
    if limit_bytes is not None and limit_bytes < LEAST_MAX_RSS_BYTES:
        raise SettingsError(f"--max-rss {settings.max_rss}: choose at least {size_words(LEAST_MAX_RSS_BYTES)}")
