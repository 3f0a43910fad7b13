"""The style sheet: every colour of the palette that it names, and braces that close."""

import re

import pytest

from ui_proc.palettes import DARK, LIGHT
from ui_proc.style_sheet import style_sheet


@pytest.mark.parametrize("colors", [DARK, LIGHT])
def test_it_is_written_in_the_colors_of_its_palette(colors):
    used = set(re.findall(r"#[0-9a-fA-F]{6}\b", style_sheet(colors)))
    assert used
    assert used <= {getattr(colors, name) for name in colors.__struct_fields__}


def test_every_rule_is_closed():
    text = style_sheet(LIGHT)
    assert text.count("{") == text.count("}")
    assert re.findall(r"\{[^{}]*\{", text) == []


def test_two_palettes_give_two_style_sheets():
    assert style_sheet(DARK) != style_sheet(LIGHT)
