"""Tells whether there is a display that a window can be opened on.

Owns the question. Must not import Qt: Qt aborts the process where the answer is no. Main thread.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Mapping
from pathlib import Path


def find_problem(environ: Mapping[str, str], reaches_x11: Callable[[str], bool] | None = None) -> str:
    """Return why no window can be opened; "" when one can."""
    if environ.get("QT_QPA_PLATFORM"):
        return ""  # whoever sets it knows better
    reaches = reaches_x11 or _reaches_x11
    x11, wayland = environ.get("DISPLAY", ""), environ.get("WAYLAND_DISPLAY", "")
    if not x11 and not wayland:
        return "no display: neither DISPLAY nor WAYLAND_DISPLAY is set"
    if wayland and _wayland_socket(wayland, environ).exists():
        return ""
    if x11 and reaches(x11):
        return ""
    return f"the display {x11 or wayland} cannot be reached"


def _wayland_socket(name: str, environ: Mapping[str, str]) -> Path:
    return Path(environ.get("XDG_RUNTIME_DIR", f"/run/user/{os.getuid()}")) / name


def _reaches_x11(name: str) -> bool:
    xcb = ctypes.CDLL("libxcb.so.1")
    xcb.xcb_connect.restype = ctypes.c_void_p
    xcb.xcb_connection_has_error.argtypes = xcb.xcb_disconnect.argtypes = [ctypes.c_void_p]
    connection = xcb.xcb_connect(name.encode(), None)
    is_reached = bool(xcb.xcb_connection_has_error(connection) == 0)
    xcb.xcb_disconnect(connection)
    return is_reached
