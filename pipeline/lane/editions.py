"""The new words of messages, from the entry that says so until the store has confirmed them.

An edited body is written before its ruling is journaled, and counts for nothing yet: an owner that
is deposed in between has changed no message.  The entry names the edition; whoever projects the
entry has the store confirm it, and only from then on a read of bodies gives the new words.
Meanwhile nobody asks for the body of that message.  So what is handed over is never older than the
newest edit that was answered with "done", and never one that was refused.
"""

from collections.abc import Iterable

from pipeline.instant import Instant
from pipeline.lane.entry import Entry, EntryBuilder
from pipeline.later import EditionKey
from pipeline.message import MessageId


class Unconfirmed:
    """The messages of one owner whose bodies must not be read now."""

    def __init__(self) -> None:
        self._newest: dict[MessageId, Instant] = {}

    def __contains__(self, id_: MessageId) -> bool:
        return id_ in self._newest

    def __bool__(self) -> bool:
        return bool(self._newest)

    def on_named(self, lines: Entry | EntryBuilder) -> None:
        """Note what an entry says; one that is not in the journal yet counts, too."""
        for position, at in lines.editions.items():
            self._newest[lines.message_ids[position]] = at

    def on_confirmed(self, keys: Iterable[EditionKey]) -> None:
        """Let these be read again, unless they were edited once more."""
        for id_, _, at in keys:
            if self._newest.get(id_) == at:
                del self._newest[id_]
