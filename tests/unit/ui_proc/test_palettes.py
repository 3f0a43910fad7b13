"""The colours: text can be read on every ground it stands on."""

import pytest

from ui_proc.connection_text import Tone
from ui_proc.palettes import DARK, LIGHT

PAIRS = [
    (ink, ground)
    for ink, grounds in {
        "text": ("window", "surface", "raised", "accent_soft", "good_soft"),
        "muted": ("window", "surface", "raised", "accent_soft", "good_soft"),
        "accent": ("surface", "accent_soft"),
        "on_accent": ("accent",),
        "busy": ("surface", "good_soft", "accent_soft"),
        "bad": ("window", "surface"),
    }.items()
    for ground in grounds
] + [(tone.value, f"{tone.value}_soft") for tone in Tone]


def luminance(color):
    channels = [int(color[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("colors", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize(("ink", "ground"), PAIRS)
def test_text_has_at_least_the_contrast_of_wcag_aa(colors, ink, ground):
    dark, light = sorted([luminance(getattr(colors, ink)), luminance(getattr(colors, ground))])
    assert (light + 0.05) / (dark + 0.05) >= 4.5


def test_a_tone_names_its_ink_and_ground():
    assert LIGHT.of(Tone.BAD) == (LIGHT.bad, LIGHT.bad_soft)
