"""What the documents name is there."""

import configparser
import re
from pathlib import Path

import pytest

from launcher import cli
from launcher.settings import Settings

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("document", ["README.md", "docs/architecture.md", "docs/protocol.md", "docs/service.md"])
def test_every_file_that_a_document_names_exists(document: str) -> None:
    text = (ROOT / document).read_text()
    named = set(re.findall(r"`((?:ipc|launcher|server_proc|ui_proc|tests)/[a-z_/]*(?:\.py)?)`", text))
    linked = {str(Path(document).parent / path) for path in re.findall(r"\]\(([a-z/_.]+)\)", text)}
    missing = sorted(path for path in named | linked if not (ROOT / path).exists())
    assert named | linked or document == "docs/protocol.md"
    assert missing == []


def test_every_package_is_on_the_map() -> None:
    text = (ROOT / "README.md").read_text()
    for package in ("run.py", "launcher/", "ipc/", "server_proc/", "ui_proc/", "tests/"):
        assert f"| `{package}` |" in text


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
