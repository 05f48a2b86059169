"""What may have been handed over although nothing in the data says so (docs/protocol.md, 7).

A backup knows nothing of what happened after it was taken.  Until it was brought back, the folder
it was taken of may have handed over whatever waited in it.  So what was there by then is never
claimed: it becomes uncertain, and a receipt or a person settles it.  What was not due by then was
not handed over, unless somebody hurried it there: so it is not doubted, but whoever hurries it, or
resumes it, is told that it is uncertain.  What a later attempt asks for was asked for since.
"""

from collections.abc import Iterable
from typing import Final

from pipeline.instant import Instant
from pipeline.lane.ruling import Ruling
from pipeline.lane.window import Candidate
from pipeline.lifecycle import Event, attempt_awaited
from pipeline.message import AT_ONCE, BufferRow, MessageId, TimerRow

RESTORED: Final = "restored from a backup: it may have been handed over since that was taken"


def doubted(ruling: Ruling, *, detail: str = "") -> Ruling:
    """Return what becomes of a message instead of being put off."""
    return ruling._replace(event=Event.LOSE_ANSWER, detail=detail, due_at=AT_ONCE)


class RestoreGuard:
    """Tells what the instant of a restore makes doubtful, and holds it until it is ruled on."""

    def __init__(self, restored_at: Instant) -> None:
        self._restored_at = restored_at
        self.is_settled = False
        self.suspects: dict[MessageId, Candidate] = {}
        self._attempts: dict[MessageId, int] = {}  # that may have been made

    def settle(self, *, rows_before: Instant, timers_before: Instant) -> None:
        """Note that all rows and timers before these instants are resolved.

        Until all that is doubtful was ruled on, no command is judged: it would put off, or call
        cancelled, what is uncertain.
        """
        self.is_settled |= min(rows_before, timers_before) > self._restored_at

    def note_rows(self, rows: Iterable[BufferRow]) -> None:
        """Note what may have been done of what rows ask for."""
        for at, id_, _, born, attempt, _, _ in rows:
            if self.doubts_row(at=at, born=born, attempt=attempt):
                self._attempts[id_] = attempt

    def note_timers(self, rows: Iterable[TimerRow]) -> None:
        """Note what may have been done of what timers ask for."""
        for due_at, id_, _, _, attempt, _ in rows:
            if due_at <= self._restored_at:
                self._attempts[id_] = attempt

    def keeps(self, id_: MessageId, candidate: Candidate) -> bool:
        """Return whether a message that waits to be claimed is a suspect; then it is kept here."""
        if self._attempts.get(id_) != attempt_awaited(candidate.fold):
            return False
        self.suspects[id_] = candidate
        return True

    def doubts_ruling(self, ruling: Ruling) -> bool:
        """Return whether what a command puts off may have been handed over before the restore.

        What waits for a later time is not doubted as long as it waits.  Who resumes or hurries it
        cannot know whether somebody did so before, in the folder that the backup was taken of; and
        nobody notes when it was paused.  What ended is asked for again by name, and was looked at.
        """
        return (
            ruling.event is Event.DEFER
            and attempt_awaited(ruling.fold) is not None
            and max(ruling.born, ruling.due_at) <= self._restored_at
        )

    def let_go(self, ids: Iterable[MessageId]) -> None:
        """Forget suspects: the next entry rules on them."""
        for id_ in ids:
            self.suspects.pop(id_, None)

    def doubts_row(self, *, at: Instant, born: Instant, attempt: int) -> bool:
        """Return whether what a row asks for may have been done.

        A row that came later is a repeat of the client's if the id is older: its first row may have
        been in the folder of which the backup was taken.  A later attempt is the lane's own.
        """
        return at <= self._restored_at or (attempt == 1 and born <= self._restored_at)

    @property
    def born_min(self) -> Instant:
        """What was born before this instant is not known by its doorbell: its row says more."""
        return Instant(self._restored_at + 1)

    def doubts_claim(self, claimed_at: Instant) -> bool:
        """Return whether a claim without outcome may have had one, and another attempt after it."""
        return claimed_at <= self._restored_at
