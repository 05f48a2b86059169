"""When a lane's journal goes on in another segment, and how (docs/protocol.md, 5.2).

A segment is one partition, so it may not grow for ever.  An entry whose seq is a multiple of the
limit begins a segment: a rule that needs no memory, so that owners that follow each other quickly
cannot make a segment longer.  A segment that nobody has appended to is begun already.

A roll is three writes, each repeated until its answer is definite: the hint, which lets others find
the segment; the closing of the old one; the opening of the new one.  No two segments of a lane are
open at once, so who stops anywhere between them leaves the lane to be taken over, and who wakes up
there finds that it was.
"""

from enum import StrEnum, unique
from typing import assert_never

from pipeline.ports import Ownership


def begins_segment(seq: int, *, entries_max: int, new_segment_seq: int | None) -> bool:
    """Return whether the entry must not go where the one before it is.

    `new_segment_seq`: the first entry of a segment that was opened for it, as it was read back.
    """
    return seq > 0 and seq % entries_max == 0 and seq != new_segment_seq


@unique
class RollStep(StrEnum):
    """What is to be done next; all of it may be repeated."""

    HINT = "write the hint of the next segment"
    CLOSE = "close the segment"
    LOOK_AT_CLOSED = "read the cells of the segment"
    OPEN = "open the next segment"
    LOOK_AT_OPENED = "read the cells of the next segment"
    ROLLED = "the next segment is ours"
    FENCED = "somebody else has the lane"


class Roll:
    """One roll of one owner.  An unknown answer changes nothing: the same step again."""

    def __init__(self, segment: int, *, epoch: int, owner: bytes) -> None:
        self.segment = segment
        self.epoch = epoch
        self.owner = owner
        self.step = RollStep.HINT

    @property
    def next_segment(self) -> int:
        """Return the number of the segment that is to be opened."""
        return self.segment + 1

    @property
    def is_over(self) -> bool:
        """Nothing is left to be done, for good or bad."""
        return self.step in (RollStep.ROLLED, RollStep.FENCED)

    def on_hinted(self) -> None:
        """Take the acknowledgement of the hint."""
        assert self.step is RollStep.HINT
        self.step = RollStep.CLOSE

    def on_written(self, *, is_applied: bool) -> None:
        """Take the definite answer to the closing or the opening.

        A no may be the answer to a repeat of what had applied: the cells say which it is.
        """
        match self.step:
            case RollStep.CLOSE:
                self.step = RollStep.OPEN if is_applied else RollStep.LOOK_AT_CLOSED
            case RollStep.OPEN:
                self.step = RollStep.ROLLED if is_applied else RollStep.LOOK_AT_OPENED
            case step:
                raise AssertionError(step)

    def on_cells(self, ownership: Ownership | None) -> None:
        """Take the cells of the segment that the step looks at."""
        match self.step:
            case RollStep.LOOK_AT_CLOSED:
                is_mine = ownership == Ownership(-self.epoch, self.owner)
                self.step = RollStep.OPEN if is_mine else RollStep.FENCED
            case RollStep.LOOK_AT_OPENED:
                is_mine = ownership == Ownership(self.epoch, self.owner)
                self.step = RollStep.ROLLED if is_mine else RollStep.FENCED
            case (
                RollStep.HINT
                | RollStep.CLOSE
                | RollStep.OPEN
                | RollStep.ROLLED
                | RollStep.FENCED as step
            ):
                raise AssertionError(step)
            case other:
                assert_never(other)
