"""The pill: the title is never cut, the detail may be."""

import pytest

from ui_proc.connection_text import Pill, Tone
from ui_proc.status_pill import StatusPill

LONG = Pill(Tone.BUSY, "Server restarting, attempt 2", "next try in 4 s", "connection refused")


@pytest.fixture
def pill(qtbot, theme):
    pill = StatusPill(theme)
    qtbot.addWidget(pill)
    return pill


def test_it_asks_for_room_for_all_and_insists_on_the_title(pill):
    pill.show_pill(LONG)
    whole, least = pill.sizeHint().width(), pill.minimumSizeHint().width()
    pill.show_pill(Pill(Tone.BUSY, LONG.title))
    assert least < whole
    assert pill.sizeHint().width() - 1 == least


def test_the_tool_tip_and_the_screen_reader_get_everything(pill):
    pill.show_pill(LONG)
    assert pill.toolTip() == "Server restarting, attempt 2 \N{MIDDLE DOT} next try in 4 s\nconnection refused"
    assert pill.accessibleName() == "Connection: Server restarting, attempt 2 \N{MIDDLE DOT} next try in 4 s"


@pytest.mark.parametrize("tone", list(Tone))
def test_the_ground_has_the_colour_of_the_tone(pill, theme, tone):
    pill.show_pill(Pill(tone, "Title"))
    pill.resize(pill.sizeHint())
    image = pill.grab().toImage()
    assert image.pixelColor(image.width() // 2, 2).name() == theme.colors.of(tone)[1]


def test_a_detail_that_does_not_fit_is_left_out_rather_than_torn(pill):
    pill.show_pill(LONG)
    pill.resize(pill.minimumSizeHint().width() + 20, 30)
    cut = pill.grab().toImage()
    pill.show_pill(Pill(Tone.BUSY, LONG.title))
    assert pill.grab().toImage() == cut
