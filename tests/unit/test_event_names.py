"""Every event that we log has a constant name in snake_case that says what has happened."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("ipc", "launcher", "server_proc", "ui_proc")
LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}
LOGGERS = re.compile(r"_?log(ger)?")
# The name is passed on: ipc.traffic has three, and says them where it calls this.
PASSED_ON = {("ipc/traffic.py", "event")}
# A participle, or a word for a state that has been found; add one that is missing here.
ENDINGS = re.compile(
    r"(ed|sent|left|lost|done|gone|begun|shown|said|met|hung|ready|fatal|traffic|output|offscreen|unknown|written|missing|unseen|kept|short|full)$"
)


def calls() -> Iterator[tuple[str, ast.Call]]:
    """Yield file and call of each place that logs."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and _is_log_call(node):
                    yield str(path.relative_to(ROOT)), node


def _is_log_call(call: ast.Call) -> bool:
    function = call.func
    if not isinstance(function, ast.Attribute) or function.attr not in LEVELS:
        return False
    owner = function.value
    name = owner.attr if isinstance(owner, ast.Attribute) else owner.id if isinstance(owner, ast.Name) else ""
    return LOGGERS.fullmatch(name) is not None


CALLS = list(calls())


def test_the_scan_finds_them() -> None:
    assert len(CALLS) > 40
    assert {file.split("/")[0] for file, _call in CALLS} == set(PACKAGES)


@pytest.mark.parametrize(("file", "call"), CALLS, ids=[f"{file}:{call.lineno}" for file, call in CALLS])
def test_the_name_is_constant_and_says_what_has_happened(file: str, call: ast.Call) -> None:
    name = call.args[0] if call.args else None
    if isinstance(name, ast.Name) and (file, name.id) in PASSED_ON:
        return
    assert isinstance(name, ast.Constant), "a name is not put together: what varies goes into keys"
    assert isinstance(name.value, str)
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", name.value)
    assert ENDINGS.search(name.value)
    assert len(call.args) == 1
