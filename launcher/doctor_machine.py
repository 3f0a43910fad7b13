"""What doctor looks at on the machine: Python, libraries, kernel, display.

Owns these checks. Changes nothing, and never imports what a child imports: that is asked in a process of its own.
"""

from __future__ import annotations

import ctypes
import os
import platform
import re
import resource
import subprocess
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

from launcher.findings import Findings, ok, one_line, problem, warning
from launcher.settings import Settings, why_offscreen

_ROOT = Path(__file__).resolve().parents[1]
_OLDEST_PYTHON = (3, 11)
_LEAST_DESCRIPTORS = 1024  # the server alone takes 512 connections
_ASK_S = 20.0
_PR_GET_PDEATHSIG, _PR_GET_CHILD_SUBREAPER = 2, 37
_NAME = re.compile(r"^[A-Za-z][\w.-]*")
_PIN = re.compile(r"^([A-Za-z][\w.-]*)==([^\s;\\]+)", re.MULTILINE)
_FIND_DISPLAY = "import os; from ui_proc.display import find_problem; print(find_problem(os.environ))"


def python_finding() -> Findings:
    """Look at the interpreter."""
    version = f"{platform.python_version()} at {sys.executable}"
    if sys.version_info < _OLDEST_PYTHON:
        yield problem("python", version, "Python 3.11 or later is needed: make PYTHON=python3.12 run")
    else:
        yield ok("python", version)


def dependency_findings(root: Path = _ROOT) -> Findings:
    """Compare the installed distributions with the pinned ones."""
    try:
        wanted = [
            match[0] for line in (root / "requirements.in").read_text().splitlines() if (match := _NAME.match(line))
        ]
        pins = {_plain(name): version for name, version in _PIN.findall((root / "requirements.txt").read_text())}
    except OSError as error:
        yield warning("dependencies", f"cannot be compared: {error}", "run from a complete checkout")
        return
    good = []
    for name in wanted:
        pinned = pins.get(_plain(name), "")
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            yield problem("dependencies", f"{name} is not installed", "run `make run` once, or use .venv/bin/python")
            continue
        if pinned and version != pinned:
            yield warning("dependencies", f"{name} is {version}, not the tested {pinned}", "run `make run` once")
        else:
            good.append(f"{name} {version}")
    if good:
        yield ok("dependencies", ", ".join(good))


def qt_findings(settings: Settings, environment: Mapping[str, str]) -> Findings:
    """Ask the ui's own module which system libraries are missing."""
    if settings.ui == "none":
        yield ok("qt libraries", "not needed: --ui none")
        return
    where = [] if why_offscreen(settings.ui, environment) is None else ["--offscreen"]
    asked = _ask("-m", "ui_proc.qt_libraries", *where)
    if asked.returncode not in (0, 1):
        yield warning("qt libraries", "cannot be checked", one_line(asked.stderr) or "report this")
    elif asked.returncode == 1:
        complaint, _, command = one_line(asked.stdout).partition("; install them: ")
        yield problem("qt libraries", complaint, command)
    else:
        yield ok("qt libraries", one_line(asked.stdout))
        packages = _ask("-m", "ui_proc.qt_libraries", "--missing-packages", *where).stdout.split()
        if packages:
            yield warning(
                "fonts", "none is installed: the window shows no letters", f"apt-get install -y {packages[-1]}"
            )


def display_findings(settings: Settings, environment: Mapping[str, str]) -> Findings:
    """Tell whether the ui gets a window."""
    if settings.ui == "none":
        yield ok("display", "not needed: --ui none")
        return
    reason = why_offscreen(settings.ui, environment)
    if settings.ui == "offscreen":
        yield ok("display", "not needed: --ui offscreen")
    elif reason is not None:
        yield warning("display", f"{reason}: the ui runs offscreen", "set DISPLAY, or say --ui offscreen")
    else:
        asked = _ask("-c", _FIND_DISPLAY)
        trouble = one_line(asked.stdout if asked.returncode == 0 else asked.stderr[-200:])
        if trouble:
            yield warning("display", f"{trouble}: the ui runs offscreen", "start the display, or say --ui offscreen")
        else:
            named = environment.get("WAYLAND_DISPLAY") or environment.get("DISPLAY")
            yield ok("display", named or f"QT_QPA_PLATFORM={environment.get('QT_QPA_PLATFORM')}")


def kernel_findings() -> Findings:
    """Look for what supervision builds upon."""
    if sys.platform != "linux":
        yield problem("kernel", platform.platform(), "run Axon on Linux")
        return
    here = f"{platform.system()} {platform.release()}"
    missing = [
        what
        for what, is_there in (("pidfd", _has_pidfd), ("PDEATHSIG", _ties), ("subreaper", _adopts))
        if not is_there()
    ]
    if missing:
        consequence = "deaths are noticed later, or processes may be left behind"
        yield warning("kernel", f"{here} has no {', '.join(missing)}: {consequence}", "use Linux 5.3 or later")
    else:
        yield ok("kernel", f"{here} has pidfd, PDEATHSIG, subreaper")


def limit_findings() -> Findings:
    """Look at what a process of ours may have open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < _LEAST_DESCRIPTORS:
        yield warning("descriptors", f"a process may have {soft} open (ulimit -n)", f"ulimit -n {min(4096, hard)}")
    else:
        yield ok("descriptors", f"a process may have {soft} open")


def _ask(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-B", *arguments]
    return subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, timeout=_ASK_S, check=False)


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _has_pidfd() -> bool:
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError):
        return False
    return True


def _ties() -> bool:
    return _prctl(_PR_GET_PDEATHSIG)


def _adopts() -> bool:
    return _prctl(_PR_GET_CHILD_SUBREAPER)


def _prctl(option: int) -> bool:
    value = ctypes.c_int()
    return bool(ctypes.CDLL(None).prctl(option, ctypes.byref(value), 0, 0, 0) == 0)
