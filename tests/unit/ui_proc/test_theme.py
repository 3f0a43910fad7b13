"""The theme: the operator's choice, or the desktop's."""

import pytest
from PySide6.QtCore import QSettings
from PySide6.QtGui import QPalette

from ui_proc.palettes import DARK, LIGHT
from ui_proc.theme import Theme, base_font, fixed_font, sized

pytestmark = pytest.mark.usefixtures("qapp")


def test_a_choice_colours_the_application(theme, qapp, qtbot):
    with qtbot.waitSignal(theme.changed):
        theme.choose("dark")
    assert theme.colors is DARK
    assert qapp.palette().color(QPalette.ColorRole.Window).name() == DARK.window
    assert DARK.surface in qapp.styleSheet()


def test_a_choice_is_kept_for_the_next_start(theme, qapp, settings):
    theme.choose("dark")
    settings.sync()
    later = Theme(qapp, QSettings(settings.fileName(), QSettings.Format.IniFormat))
    assert (later.choice, later.colors) == ("dark", DARK)
    later.setParent(None)


def test_without_a_choice_it_follows_the_desktop(theme):
    assert theme.choice == "system"
    assert theme.colors is LIGHT  # the offscreen platform names no scheme


def test_an_unknown_choice_is_refused(theme):
    with pytest.raises(ValueError, match="sepia"):
        theme.choose("sepia")


def test_an_unknown_stored_choice_is_the_desktops(qapp, settings):
    settings.setValue("window/theme", "sepia")
    theme = Theme(qapp, settings)
    assert theme.choice == "system"
    theme.setParent(None)


def test_fonts_have_sizes_in_pixels():
    assert base_font().pixelSize() == 13
    assert fixed_font().pixelSize() == 12
    assert sized(base_font(), 20).pixelSize() == 20
