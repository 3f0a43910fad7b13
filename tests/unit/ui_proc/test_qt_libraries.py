"""The list of system libraries, with a loader that is told what is missing."""

import struct
import subprocess
import sys
from pathlib import Path

import PySide6
import pytest

from ui_proc import qt_libraries
from ui_proc.qt_libraries import BASE, WAYLAND, XCB, Library, complaint, find_missing, has_font, needed, packages

SHT_DYNAMIC, DT_NEEDED = 6, 1
EVERY_DEBIAN_HAS = ("libc.", "libm.", "libpthread.", "libdl.", "librt.", "libstdc++.", "libgcc_s.", "ld-linux")


def loader_without(*sonames):
    def load(soname):
        if soname in sonames:
            raise OSError(f"{soname}: cannot open shared object file")

    return load


def test_nothing_is_missing_where_everything_loads():
    assert find_missing(BASE + XCB, loader_without()) == []
    assert complaint([]) == ""


def test_the_complaint_names_the_libraries_and_the_one_command():
    missing = find_missing(BASE, loader_without("libEGL.so.1", "libglib-2.0.so.0", "libgthread-2.0.so.0"))
    assert complaint(missing) == (
        "Qt needs system libraries that are missing: libEGL.so.1, libglib-2.0.so.0, libgthread-2.0.so.0; "
        "install them: apt-get install -y libegl1 libglib2.0-0"
    )


def test_a_package_is_named_once():
    assert packages([Library("a.so", "p"), Library("b.so", "p")]) == ["p"]


@pytest.mark.parametrize(
    ("is_offscreen", "environ", "libraries"),
    [
        (True, {"DISPLAY": ":0"}, BASE),
        (False, {"DISPLAY": ":0"}, BASE + XCB),
        (False, {"DISPLAY": ":0", "WAYLAND_DISPLAY": "wayland-0"}, BASE + XCB),
        (False, {"WAYLAND_DISPLAY": "wayland-0"}, BASE + WAYLAND),
        (False, {"DISPLAY": ":0", "QT_QPA_PLATFORM": "offscreen"}, BASE),
        (False, {"QT_QPA_PLATFORM": "xcb:option"}, BASE + XCB),
        (False, {}, BASE),
    ],
)
def test_the_display_decides_what_is_needed(is_offscreen, environ, libraries):
    assert needed(is_offscreen, environ) == libraries


def test_a_font_file_anywhere_below_counts(tmp_path):
    assert not has_font([str(tmp_path), str(tmp_path / "absent")])
    (tmp_path / "truetype").mkdir()
    (tmp_path / "truetype" / "Sans.TTF").touch()
    assert has_font([str(tmp_path)])


def test_missing_packages_is_one_line_for_a_shell(capsys, monkeypatch):
    monkeypatch.setattr(qt_libraries, "has_font", lambda: False)
    code = qt_libraries.main(["--missing-packages", "--display"], loader_without("libxcb-icccm.so.4", "libEGL.so.1"))
    assert (code, capsys.readouterr().out) == (0, "libegl1 libxcb-icccm4 fonts-dejavu-core\n")


def test_without_the_switch_the_exit_code_tells(capsys):
    assert qt_libraries.main(["--offscreen"], loader_without("libEGL.so.1")) == 1
    assert "libEGL.so.1" in capsys.readouterr().out
    assert qt_libraries.main(["--offscreen"], loader_without()) == 0


def test_it_runs_as_a_program_without_importing_qt():
    code = (
        "import runpy, sys; sys.argv[1:] = ['--missing-packages', '--offscreen']\n"
        "try: runpy.run_module('ui_proc.qt_libraries', run_name='__main__')\n"
        "except SystemExit as end: print(end.code, any(name.startswith(('PySide6', 'ipc')) for name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout.splitlines()[-1] == "0 False"


def linked_sonames(path):
    """Read the NEEDED entries of a 64-bit little-endian ELF file."""
    data = path.read_bytes()
    (table,) = struct.unpack_from("<Q", data, 0x28)
    size, count = struct.unpack_from("<HH", data, 0x3A)
    sections = [struct.unpack_from("<IIQQQQIIQQ", data, table + index * size) for index in range(count)]
    for section in (section for section in sections if section[1] == SHT_DYNAMIC):
        strings = sections[section[6]][4]
        for offset in range(section[4], section[4] + section[5], 16):
            tag, value = struct.unpack_from("<qQ", data, offset)
            if tag == DT_NEEDED:
                yield data[strings + value : data.index(b"\0", strings + value)].decode()


@pytest.mark.parametrize(
    ("files", "libraries"),
    [
        (("lib/libQt6Core.so.6", "lib/libQt6Gui.so.6", "lib/libQt6Widgets.so.6", "lib/libQt6DBus.so.6"), BASE),
        (("plugins/platforms/libqoffscreen.so",), BASE),
        (("plugins/platforms/libqxcb.so", "lib/libQt6XcbQpa.so.6"), BASE + XCB),
        (("plugins/platforms/libqwayland.so", "lib/libQt6WaylandClient.so.6"), BASE + WAYLAND),
    ],
)
def test_the_list_names_all_that_the_installed_qt_links_to(files, libraries):
    qt = Path(PySide6.__file__).parent / "Qt"
    linked = {soname for file in files for soname in linked_sonames(qt / file)}
    brought_along = {path.name for path in (qt / "lib").iterdir()}
    elsewhere = {name for name in linked if not name.startswith(EVERY_DEBIAN_HAS)} - brought_along
    assert elsewhere
    assert elsewhere <= {library.soname for library in libraries}
