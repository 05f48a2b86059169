"""What an audit can find, and the list of what it found."""

from collections import Counter
from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

import msgspec

from pipeline.limits import FINDINGS_KEPT_MAX
from pipeline.message import MessageId


class FindingKind(StrEnum):
    """What is wrong; the names never change."""

    FILE_UNREADABLE = "file_unreadable"
    ENTRY_UNREADABLE = "entry_unreadable"
    ENTRY_MISSING = "entry_missing"
    OFFSET_WENT_BACK = "offset_went_back"
    LANE_UNANNOUNCED = "lane_unannounced"
    TAKEN_TWICE = "taken_twice"
    ILLEGAL_ORDER = "illegal_order"
    CLAIM_FORGOTTEN = "claim_forgotten"
    BODY_UNREADABLE = "body_unreadable"
    MESSAGE_MISSING = "message_missing"
    MISPLACED = "misplaced"
    MISSED_ROW = "missed_row"
    MISSED_TIMER = "missed_timer"
    COMMAND_UNANSWERED = "command_unanswered"
    BOOKS_DIFFER = "books_differ"
    LINE_TWICE = "line_twice"
    LINE_MISSING = "line_missing"
    LINE_UNCLAIMED = "line_unclaimed"
    LINE_UNKNOWN = "line_unknown"
    LINE_UNREADABLE = "line_unreadable"
    LINE_OUT_OF_ORDER = "line_out_of_order"


MEANINGS: Final[Mapping[FindingKind, str]] = MappingProxyType(
    {
        FindingKind.FILE_UNREADABLE: "A core's file cannot be read to its end.",
        FindingKind.ENTRY_UNREADABLE: "An entry of a journal does not decode.",
        FindingKind.ENTRY_MISSING: "The numbers of a journal's entries have a gap.",
        FindingKind.OFFSET_WENT_BACK: "A checkpoint is behind the one before it.",
        FindingKind.LANE_UNANNOUNCED: "A lane has rows and is not announced: nobody reads them.",
        FindingKind.TAKEN_TWICE: "A provider took a message twice.",
        FindingKind.ILLEGAL_ORDER: "A timeline breaks the lifecycle table.",
        FindingKind.CLAIM_FORGOTTEN: "A message is claimed and no entry answers for it.",
        FindingKind.BODY_UNREADABLE: "A message's body does not decode: its lane stands still.",
        FindingKind.MESSAGE_MISSING: "A row or a timeline has no stored message.",
        FindingKind.MISPLACED: "A row lies on a core that is not its own.",
        FindingKind.MISSED_ROW: "A row below its lane's offset is not resolved.",
        FindingKind.MISSED_TIMER: "A timer below its lane's cursor is not resolved.",
        FindingKind.COMMAND_UNANSWERED: "A command that was carried out has no answer.",
        FindingKind.BOOKS_DIFFER: "A book and the timelines tell of different numbers.",
        FindingKind.LINE_TWICE: "The outbox has two lines of one message.",
        FindingKind.LINE_MISSING: (
            "A message is sent and the outbox has no line of it; if lines were taken away, name"
            " every place of them with `--outbox`."
        ),
        FindingKind.LINE_UNCLAIMED: "The outbox has a line of a message that was not handed over.",
        FindingKind.LINE_UNKNOWN: "The outbox has a line of a message that was never accepted.",
        FindingKind.LINE_UNREADABLE: "The outbox has something that is no line of ours.",
        FindingKind.LINE_OUT_OF_ORDER: "Messages of one ordering key left out of their order.",
    }
)
assert set(MEANINGS) == set(FindingKind)


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong."""

    kind: FindingKind
    where: str  # a core, a lane, a book, a file
    id: str | None  # of the message, if it is about one
    detail: str


class Findings:
    """Keeps the first findings of each kind, and counts all."""

    def __init__(self) -> None:
        self.kept: list[Finding] = []
        self.counts: Counter[FindingKind] = Counter()

    @property
    def total(self) -> int:
        """How many there are, kept or not."""
        return self.counts.total()

    def add(
        self, kind: FindingKind, *, where: str, message_id: MessageId | None = None, detail: str
    ) -> None:
        """Add a finding."""
        self.counts[kind] += 1
        if self.counts[kind] <= FINDINGS_KEPT_MAX:
            self.kept.append(
                Finding(
                    kind=kind,
                    where=where,
                    id=None if message_id is None else message_id.hex(),
                    detail=detail,
                )
            )
