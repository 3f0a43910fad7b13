"""A child's view of its launcher, without a launcher: it counts what the child says."""

from ipc import ChildSettings


class FakeContext:
    """`when_ready` is called in `ready`; `stop` plays the launcher that says stop."""

    authkey = b"k" * 32
    listener = None
    http_socket = None

    def __init__(self, tmp_path, when_ready=lambda: None, offscreen=True):
        self.settings = ChildSettings(
            name="ui",
            run_id="run-1",
            socket=str(tmp_path / "axon.sock"),
            control_socket=str(tmp_path / "axon-control.sock"),
            url="http://127.0.0.1:1340",
            state_dir=str(tmp_path),
            offscreen=offscreen,
        )
        self.heartbeats = 0
        self.readies = 0
        self.stop = lambda: None
        self._when_ready = when_ready

    def ready(self):
        self.readies += 1
        self._when_ready()

    def heartbeat(self):
        self.heartbeats += 1

    def on_stop(self, callback):
        self.stop = callback
