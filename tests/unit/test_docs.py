"""What the documents name is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("document", ["README.md", "docs/architecture.md", "docs/protocol.md", "docs/http-api.md"])
def test_every_file_that_a_document_names_exists(document: str) -> None:
    text = (ROOT / document).read_text()
    named = set(re.findall(r"`((?:ipc|launcher|server_proc|ui_proc|tests)/[a-z_/]*(?:\.py)?)`", text))
    linked = {str(Path(document).parent / path) for path in re.findall(r"\]\(([a-z/_.]+)\)", text)}
    missing = sorted(path for path in named | linked if not (ROOT / path).exists())
    assert named | linked or document in ("docs/protocol.md", "docs/http-api.md")
    assert missing == []


def test_every_package_is_on_the_map() -> None:
    text = (ROOT / "README.md").read_text()
    for package in ("run.py", "launcher/", "ipc/", "server_proc/", "ui_proc/", "tests/"):
        assert f"| `{package}` |" in text
