"""The entry of the ui child: `run(context)`.

Owns the order of the start: libraries, display, Qt, window. Must not know what the window does. Main thread.

Importing this module imports Qt and everything else that takes time, and does nothing more, so that a spare process
has that behind it. Qt that cannot be imported is told by `run`, where there is somebody to tell.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import structlog

from ipc import ChildContext, ChildSetupError
from ui_proc import display, qt_libraries

if TYPE_CHECKING:
    from PySide6.QtWidgets import QApplication

try:
    from PySide6 import QtWidgets

    from ui_proc import application, fault_log
except ImportError as error:
    _import_error: ImportError | None = error
else:
    _import_error = None

log = structlog.get_logger()


def run(context: ChildContext) -> int:
    """Show the window until the user closes it or the launcher says stop; return the exit code.

    Raises ChildSetupError naming what is missing and the command that installs it.
    """
    is_offscreen = context.settings.offscreen
    check_setup(is_offscreen)
    if not is_offscreen and (problem := display.find_problem(os.environ)):
        log.warning("ui_offscreen", reason=problem)
        is_offscreen = True
    if is_offscreen:
        os.environ["QT_QPA_PLATFORM"] = "offscreen"
    with fault_log.logged_faults():
        qt = _qt_application()
        return application.Application(context, qt).run()


def check_setup(is_offscreen: bool) -> None:
    """Raise ChildSetupError if Qt cannot work here: it would abort the process where Python can still say why."""
    missing = qt_libraries.find_missing(qt_libraries.needed(is_offscreen, os.environ))
    if missing:
        raise ChildSetupError(qt_libraries.complaint(missing))
    if _import_error is not None:
        raise ChildSetupError(f"PySide6 cannot be imported: {_import_error}; run `make` to install it")


def _qt_application() -> QApplication:
    existing = QtWidgets.QApplication.instance()
    qt = existing if isinstance(existing, QtWidgets.QApplication) else QtWidgets.QApplication(["axon"])
    qt.setQuitOnLastWindowClosed(False)  # the window says when it is closed, and then the exit is an orderly one
    qt.setApplicationName("axon")
    qt.setApplicationDisplayName("Axon")
    return qt
