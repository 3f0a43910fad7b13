"""The colours of the window, light and dark.

Owns the values. Must not know Qt or what is shown. Pure. Text keeps at least 4.5:1 against each ground it stands on
(WCAG AA); a test measures it.
"""

from __future__ import annotations

import msgspec

from ui_proc.connection_text import Tone


class Colors(msgspec.Struct, frozen=True, kw_only=True):
    """One palette; a `_soft` colour is the ground for text in the colour of the same name."""

    is_dark: bool
    window: str
    surface: str
    raised: str
    border: str
    text: str
    muted: str
    accent: str
    on_accent: str
    accent_soft: str
    good: str
    good_soft: str
    busy: str
    busy_soft: str
    bad: str
    bad_soft: str
    off: str
    off_soft: str

    def of(self, tone: Tone) -> tuple[str, str]:
        """Return the text colour and the ground of a tone."""
        colors: tuple[str, str] = (getattr(self, tone.value), getattr(self, f"{tone.value}_soft"))
        return colors


LIGHT = Colors(
    is_dark=False,
    window="#f3f5f9",
    surface="#ffffff",
    raised="#f7f9fc",
    border="#dfe4ec",
    text="#17202c",
    muted="#566375",
    accent="#2559d6",
    on_accent="#ffffff",
    accent_soft="#e6eeff",
    good="#0b6b4a",
    good_soft="#dcf4ea",
    busy="#8a4b00",
    busy_soft="#fff0d6",
    bad="#b3231b",
    bad_soft="#fde7e5",
    off="#566375",
    off_soft="#e9edf3",
)
DARK = Colors(
    is_dark=True,
    window="#0e131a",
    surface="#161d27",
    raised="#1c2531",
    border="#2a3544",
    text="#e8edf4",
    muted="#9aa8ba",
    accent="#7aa7ff",
    on_accent="#0b1220",
    accent_soft="#1d2f55",
    good="#5bd6a0",
    good_soft="#12352a",
    busy="#f5bd5c",
    busy_soft="#3a2c10",
    bad="#ff8d84",
    bad_soft="#451d1d",
    off="#9aa8ba",
    off_soft="#232d3a",
)
