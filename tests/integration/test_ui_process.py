"""The ui as a process of its own: ready after its first paint, beating, ending when told, 0 when the user closes."""

import json
import multiprocessing
import subprocess
import sys
import threading

import pytest

from ipc import ChildSettings

SPAWN = multiprocessing.get_context("spawn")
DEADLINE_S = 20


class PipeContext:
    """The child's view of its launcher: says "ready" and "beat" on a pipe, hears "stop" on it."""

    listener = None
    http_socket = None
    authkey = b"k" * 32

    def __init__(self, settings, pipe):
        self.settings = settings
        self._pipe = pipe

    def ready(self):
        self._pipe.send("ready")

    def heartbeat(self):
        self._pipe.send("beat")

    def on_stop(self, callback):
        def listen():
            while (word := self._pipe.recv()) != "stop":
                _obey(word)
            callback()

        threading.Thread(target=listen, daemon=True).start()


def _obey(word):
    from PySide6.QtCore import QMetaObject, Qt
    from PySide6.QtWidgets import QApplication

    if word == "close":
        window = next(widget for widget in QApplication.topLevelWidgets() if widget.isVisible())
        QMetaObject.invokeMethod(window, "close", Qt.ConnectionType.QueuedConnection)


def child(settings, pipe):
    from ui_proc.main import run

    sys.exit(run(PipeContext(settings, pipe)))


@pytest.fixture
def ui(tmp_path):
    settings = ChildSettings(
        name="ui",
        run_id="run-1",
        socket=str(tmp_path / "axon.sock"),
        control_socket=str(tmp_path / "axon-control.sock"),
        url="http://127.0.0.1:1340",
        state_dir=str(tmp_path),
        offscreen=True,
    )
    ours, theirs = SPAWN.Pipe()
    process = SPAWN.Process(target=child, args=(settings, theirs))
    process.start()
    theirs.close()
    yield process, ours
    if process.is_alive():
        process.kill()
    process.join(DEADLINE_S)
    ours.close()
    process.close()


def hear(pipe, word, count=1):
    heard = []
    while heard.count(word) < count:
        assert pipe.poll(DEADLINE_S), f"no {word!r} after {heard}"
        heard.append(pipe.recv())
    return heard


def exit_code(process):
    process.join(DEADLINE_S)
    return process.exitcode


def test_it_beats_says_ready_once_and_ends_with_0_when_told(ui):
    process, pipe = ui
    heard = hear(pipe, "ready") + hear(pipe, "beat", 2)
    assert heard.count("ready") == 1
    pipe.send("stop")
    assert exit_code(process) == 0


def test_the_user_closing_the_window_is_exit_code_0(ui):
    process, pipe = ui
    hear(pipe, "ready")
    pipe.send("close")
    assert exit_code(process) == 0


def test_importing_the_entry_starts_nothing():
    code = (
        "import json, sys, threading, ui_proc.main\n"
        "from PySide6.QtWidgets import QApplication\n"
        "print(json.dumps([QApplication.instance() is None, threading.active_count(), 'PySide6' in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert json.loads(done.stdout) == [True, 1, True]
