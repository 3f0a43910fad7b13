"""Who takes part. Each module has a `Server` and a `Client`, which run in two processes, with these methods:

    Server(address)   binds
        echo(count)           answers `count` payloads, and returns then or before
        send(count) -> s      sends `count` payloads one way; returns the monotonic time before the first
    Client(address)   connects
        round_trips(count) -> [s]   sends a payload when the last is back; returns how long each took
        receive(count) -> s         takes `count` payloads; returns the monotonic time when it had the last as a dict

The harness calls `echo` with `round_trips`, and `send` with `receive`, at the same time and with the same count.
"""
