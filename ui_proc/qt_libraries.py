"""Names the system libraries that Qt needs and this machine lacks, and the one command that installs them.

Owns the list. Must not import Qt or anything outside the standard library: it answers where Qt cannot be imported.
Runs in the main thread; `python -m ui_proc.qt_libraries --missing-packages` prints the Debian packages, one line.

The list is what the ELF files of PySide6-Essentials 6.11.3 say they need (QtCore, QtGui, QtWidgets, QtDBus and the
platform plugins), without what every Debian has and what the wheel brings along.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

INSTALL = "apt-get install -y"
FONT_PACKAGE = "fonts-dejavu-core"
FONT_DIRECTORIES = ("/usr/share/fonts", "/usr/local/share/fonts", "~/.fonts", "~/.local/share/fonts")
FONT_SUFFIXES = (".ttf", ".otf", ".ttc", ".pfb")

Load = Callable[[str], object]


class Library(NamedTuple):
    """A shared library and the Debian package that holds it."""

    soname: str
    package: str


BASE = (
    Library("libEGL.so.1", "libegl1"),
    Library("libGL.so.1", "libgl1"),
    Library("libX11.so.6", "libx11-6"),
    Library("libdbus-1.so.3", "libdbus-1-3"),
    Library("libfontconfig.so.1", "libfontconfig1"),
    Library("libfreetype.so.6", "libfreetype6"),
    Library("libglib-2.0.so.0", "libglib2.0-0"),
    Library("libgthread-2.0.so.0", "libglib2.0-0"),
    Library("libxkbcommon.so.0", "libxkbcommon0"),
    Library("libz.so.1", "zlib1g"),
    Library("libzstd.so.1", "libzstd1"),
)
XCB = (
    Library("libX11-xcb.so.1", "libx11-xcb1"),
    Library("libxcb.so.1", "libxcb1"),
    Library("libxcb-cursor.so.0", "libxcb-cursor0"),
    Library("libxcb-icccm.so.4", "libxcb-icccm4"),
    Library("libxcb-image.so.0", "libxcb-image0"),
    Library("libxcb-keysyms.so.1", "libxcb-keysyms1"),
    Library("libxcb-randr.so.0", "libxcb-randr0"),
    Library("libxcb-render.so.0", "libxcb-render0"),
    Library("libxcb-render-util.so.0", "libxcb-render-util0"),
    Library("libxcb-shape.so.0", "libxcb-shape0"),
    Library("libxcb-shm.so.0", "libxcb-shm0"),
    Library("libxcb-sync.so.1", "libxcb-sync1"),
    Library("libxcb-util.so.1", "libxcb-util1"),
    Library("libxcb-xfixes.so.0", "libxcb-xfixes0"),
    Library("libxcb-xkb.so.1", "libxcb-xkb1"),
    Library("libxkbcommon-x11.so.0", "libxkbcommon-x11-0"),
)
WAYLAND = (
    Library("libwayland-client.so.0", "libwayland-client0"),
    Library("libwayland-cursor.so.0", "libwayland-cursor0"),
    Library("libwayland-egl.so.1", "libwayland-egl1"),
)
PLUGINS = {"xcb": XCB, "wayland": WAYLAND}


def needed(is_offscreen: bool, environ: Mapping[str, str]) -> tuple[Library, ...]:
    """Return the libraries for a window without a display, or for the display that the environment names."""
    platform = "offscreen" if is_offscreen else environ.get("QT_QPA_PLATFORM", "").partition(":")[0]
    if not platform and environ.get("DISPLAY"):
        platform = "xcb"
    if not platform and environ.get("WAYLAND_DISPLAY"):
        platform = "wayland"
    return BASE + PLUGINS.get(platform, ())


def find_missing(libraries: Sequence[Library], load: Load = ctypes.CDLL) -> list[Library]:
    """Return the libraries that the dynamic loader cannot load."""
    return [library for library in libraries if not _loads(library.soname, load)]


def has_font(directories: Sequence[str] = FONT_DIRECTORIES) -> bool:
    """Tell whether any font file is installed; without one Qt paints no letter at all."""
    return any(
        Path(name).suffix.lower() in FONT_SUFFIXES
        for directory in directories
        for _, _, names in os.walk(Path(directory).expanduser())
        for name in names
    )


def packages(missing: Sequence[Library]) -> list[str]:
    """Return the Debian packages that hold these libraries, each once."""
    return list(dict.fromkeys(library.package for library in missing))


def complaint(missing: Sequence[Library]) -> str:
    """Return the one line that names what is missing and the command that installs it; "" when nothing is."""
    if not missing:
        return ""
    names = ", ".join(library.soname for library in missing)
    return f"Qt needs system libraries that are missing: {names}; install them: {INSTALL} {' '.join(packages(missing))}"


def main(arguments: Sequence[str] | None = None, load: Load = ctypes.CDLL) -> int:
    """Print the Debian packages to install, or the complaint; the exit code tells whether anything is missing."""
    parser = argparse.ArgumentParser(prog="python -m ui_proc.qt_libraries", description=__doc__.split("\n")[0])
    parser.add_argument("--missing-packages", action="store_true", help="print package names only, always exit 0")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--offscreen", action="store_true", help="for a window without a display")
    where.add_argument("--display", action="store_true", help="for an X11 display, even if there is none now")
    options = parser.parse_args(arguments)
    environ = {"DISPLAY": ":0"} if options.display else os.environ
    missing = find_missing(needed(options.offscreen, environ), load)
    if options.missing_packages:
        print(" ".join(packages(missing) + ([] if has_font() else [FONT_PACKAGE])))
        return 0
    print(complaint(missing) or "every system library that Qt needs is there")
    return 1 if missing else 0


def _loads(soname: str, load: Load) -> bool:
    try:
        load(soname)
    except OSError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
