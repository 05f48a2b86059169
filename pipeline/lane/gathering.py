"""When an entry waits a moment for more outcomes, so that fewer entries say the same.

A provider that answers message by message would get an entry for every answer or two.  Entries
that are not retired are bounded, and none retires before the offset has passed all that was
accepted together with what it names.  A campaign that came in within seconds would fill the bound
with entries of two lines, and the lane would stop claiming though nothing is wrong.  Besides, each
entry costs an append, a projection and their commits.

So the more entries there are, the longer the next one waits: not at all while there are few, as
then nobody gains by it, and never longer than until a part of the claims has an outcome.  As a
connector is given several times what it can hand over at once, it has enough to do meanwhile.
"""

from collections.abc import Iterable

from pipeline.instant import DurationMs, Instant, later
from pipeline.lane.window import Answer
from pipeline.limits import (
    ENTRIES_GATHER_FROM,
    GATHER_LONGEST_TIMES,
    GATHER_MS_MAX,
    GATHERED_PARTS,
)


class Gathering:
    """The pace of one owner's appends."""

    def __init__(self, now: Instant) -> None:
        self._applied_at = now
        self.gathers_from = ENTRIES_GATHER_FROM
        self.until: Instant | None = None
        """When the next entry is due though no more outcomes came; None: it does not wait."""

    def on_applied(self, now: Instant) -> None:
        """Note that an append was applied; from here on the next one waits."""
        self._applied_at, self.until = now, None

    def on_clock_set_back(self, now: Instant) -> None:
        """Wait for no instant that is further ahead than it was meant."""
        self._applied_at = min(self._applied_at, now)

    def waits(
        self, now: Instant, answers: Iterable[Answer], *, entries_count: int, open_count: int
    ) -> bool:
        """Return whether an entry that could say no more than these answers waits for others.

        `open_count` claims have no outcome, or one of these.
        """
        longest_from = GATHER_LONGEST_TIMES * self.gathers_from
        wait_ms = min(entries_count * GATHER_MS_MAX // longest_from, GATHER_MS_MAX)
        until = later(self._applied_at, DurationMs(wait_ms))
        is_waiting = (
            entries_count >= self.gathers_from
            and now < until
            and sum(one.messages_count for one in answers) * GATHERED_PARTS < open_count
        )
        self.until = until if is_waiting else None
        return is_waiting
