"""What the documents name is there."""

import configparser
import re
import tomllib
from pathlib import Path
from typing import ClassVar

import pytest

from ipc import PeerInfo
from launcher import cli
from launcher.settings import Settings
from server_proc.metric_sources import Sources
from server_proc.metrics import Metrics

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    "document",
    [
        "README.md",
        "docs/architecture.md",
        "docs/http-api.md",
        "docs/operations.md",
        "docs/performance.md",
        "docs/protocol.md",
        "docs/security.md",
        "docs/service.md",
    ],
)
def test_every_file_that_a_document_names_exists(document: str) -> None:
    text = (ROOT / document).read_text()
    named = set(re.findall(r"`((?:ipc|launcher|server_proc|ui_proc|tests)/[a-z_/]*(?:\.py)?)`", text))
    linked = {str(Path(document).parent / path) for path in re.findall(r"\]\(([a-z/_.]+)\)", text)}
    missing = sorted(path for path in named | linked if not (ROOT / path).exists())
    assert named | linked or document not in ("README.md", "docs/architecture.md")
    assert missing == []


def test_every_figure_is_explained() -> None:
    class Channel:
        peers: ClassVar[list[PeerInfo]] = []
        stats: ClassVar[dict[str, int]] = {}

    class Log:
        oldest, newest = 1, 0

    metrics = Metrics()
    metrics.registry.register(Sources(Channel(), Log(), Path("/nonexistent")))
    text = (ROOT / "docs/operations.md").read_text()
    suffixes = {"counter": "_total", "info": "_info"}
    names = {family.name + suffixes.get(family.type, "") for family in metrics.registry.collect()}
    missing = sorted(name for name in names if f"`{name}`" not in text and not name.startswith("process_"))
    assert len(names) > 12
    assert missing == []


def test_every_package_is_on_the_map() -> None:
    text = (ROOT / "README.md").read_text()
    for package in ("run.py", "launcher/", "ipc/", "server_proc/", "ui_proc/", "tests/"):
        assert f"| `{package}` |" in text


def test_every_pure_module_has_its_branches_counted() -> None:
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    [pure] = [each for each in tools["importlinter"]["contracts"] if each["name"] == "pure modules do no I/O"]
    counted = [path.removesuffix(".py").replace("/", ".") for path in tools["coverage"]["run"]["include"]]
    assert sorted(counted) == sorted(pure["source_modules"])


def test_the_command_in_the_unit_file_is_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    unit = configparser.ConfigParser(strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(ROOT / "docs/axon.service")
    service = unit["Service"]
    launched: list[Settings] = []
    monkeypatch.setattr("launcher.launch.run", lambda settings, _specs: launched.append(settings) or 0)
    monkeypatch.setattr("launcher.cli.checked", lambda settings, _environment: settings)  # /run/axon is not here

    _python, program, *options = service["ExecStart"].split()

    assert (Path(program).name, cli.main(options)) == ("run.py", 0)
    assert launched[0].exit_on_fatal
    assert (service["Type"], service["KillMode"], service["Restart"]) == ("notify", "mixed", "on-failure")
