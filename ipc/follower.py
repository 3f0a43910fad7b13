"""How far a client has come in the server's log, and what a message's seq says about it. Pure."""

from ipc.client_state import ClientState
from ipc.protocol import Gap, Message, Resume, Welcome


class Follower:
    """Sees to it that every message is delivered once and in order, over any number of connections."""

    def __init__(self) -> None:
        self.epoch: str | None = None
        self.last_seq = 0
        self._is_break_untold = False

    def resume(self) -> Resume | None:
        """Return what to tell the server: where to go on, or None for a first time."""
        return None if self.epoch is None else Resume(self.epoch, self.last_seq)

    def begin(self, welcome: Welcome) -> bool:
        """Take up the numbering of `welcome`: where we were, else from now on, else, in a new epoch, from the start.

        Return whether what is delivered from here on goes on where the application was.
        """
        if not welcome.resumed:
            self.last_seq = welcome.seq if self.epoch is None else 0
        self.epoch = welcome.epoch
        was_break_untold, self._is_break_untold = self._is_break_untold, False
        return welcome.resumed and not was_break_untold

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

    def want_again(self, messages: list[Message]) -> None:
        """Want the last to have come once more, at the next connection."""
        if first := next((message.seq for message in messages if message.seq), 0):
            self.last_seq = first - 1

    def rewind(self, undelivered: list[Message | Gap | ClientState]) -> None:
        """Want all this once more: what the application was not told, in the order in which it came."""
        first = newest = 0
        for each in undelivered:
            if isinstance(each, ClientState):
                self._is_break_untold |= each.kind == "live" and not each.resumed
                continue
            seq = each.first if isinstance(each, Gap) else each.seq
            if seq and (not first or seq <= newest):
                first = seq  # counting began anew: what came before is of an epoch that is over
            newest = seq or newest
        if first:
            self.last_seq = min(self.last_seq, first - 1)
