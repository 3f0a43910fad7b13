"""How far a client has come in the server's log, and what a message's seq says about it. Pure."""

from ipc.protocol import Resume, Welcome


class Follower:
    """Sees to it that every message is delivered once and in order, over any number of connections."""

    def __init__(self) -> None:
        self.epoch: str | None = None
        self.last_seq = 0

    def resume(self) -> Resume | None:
        """Return what to tell the server: where to go on, or None for a first time."""
        return None if self.epoch is None else Resume(self.epoch, self.last_seq)

    def begin(self, welcome: Welcome) -> None:
        """Take up the numbering of `welcome`: where we were, else from now on, else, in a new epoch, from the start."""
        if not welcome.resumed:
            self.last_seq = welcome.seq if self.epoch is None else 0
        self.epoch = welcome.epoch

    def admit(self, seq: int) -> tuple[int, int] | None:
        """Note that `seq` has come. Return the seqs it leaves out, as (first, last), if no gap announced them.

        Call it for a new seq only, see `is_new`.
        """
        first_missing = self.last_seq + 1
        self.last_seq = seq
        return (first_missing, seq - 1) if seq > first_missing else None

    def is_new(self, seq: int) -> bool:
        """Tell whether `seq` has not come before."""
        return seq > self.last_seq

    def skip(self, last: int) -> None:
        """Note that everything up to `last` can no longer come."""
        self.last_seq = max(self.last_seq, last)

    def rewind(self, seq: int) -> None:
        """Want everything after `seq` once more."""
        self.last_seq = min(self.last_seq, seq)
