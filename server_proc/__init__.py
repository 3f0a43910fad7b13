"""The server child: marks over HTTP in, marks in SQLite, messages to every ui.

Entry point: `server_proc.main:run`. Knows ipc; knows nothing of the launcher or the ui.
"""
