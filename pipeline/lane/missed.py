"""Which rows a lane has missed (design 5.8): below its offset, and nobody answers for them.

There should be none.  One that is found is written again with its born, and so looked up in the
fold of its message like every row that comes late: it is never sent directly.
"""

from collections.abc import Mapping, Sequence

from pipeline.lifecycle import RESOLVED_FROM, Step, attempt_awaited, attempt_of, event_of
from pipeline.message import BufferEntry, BufferRow, MessageId


def is_answered_for(step: Step | None, attempt: int) -> bool:
    """Return whether a row of this attempt may lie below the offset.

    `step`: the largest of its message, of timeline and un-retired entries together.
    """
    if step is None:
        return False
    if event_of(step) >= RESOLVED_FROM:
        return True
    awaited = attempt_awaited(step)
    # Its claim is named until it is settled.
    return attempt_of(step) >= attempt if awaited is None else awaited > attempt


def missed_rows(
    rows: Sequence[BufferRow], known: Mapping[MessageId, Step], folds: Mapping[MessageId, Step]
) -> list[BufferEntry]:
    """Return the rows to be written again.

    `known`: steps of un-retired entries, taken before the `folds` were read: what retires in
    between was projected before.
    """
    return [
        (id_, pk, born, attempt, due_at, group)
        for _, id_, pk, born, attempt, due_at, group in rows
        if not is_answered_for(known.get(id_), attempt)
        and not is_answered_for(folds.get(id_), attempt)
    ]
