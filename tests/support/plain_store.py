"""What a store is meant to do, said so plainly that it can be believed: a dictionary a table.

The rules are those that the simulation gives its world: a conditional write sees what is there, of
two writes to a book the later `as_of` stays, a timeline only grows, the first body stays.
"""

from dataclasses import dataclass, field

from pipeline.lifecycle import Step
from pipeline.message import Body, MessageId
from pipeline.ports import BookCell, Ownership


@dataclass
class PlainLane:
    """The tables of one lane, and of the messages in it."""

    segments: dict[int, Ownership] = field(default_factory=dict)
    journal: dict[int, dict[int, bytes]] = field(default_factory=dict)
    hint: int = 0
    rows: list[MessageId] = field(default_factory=list)
    steps: dict[MessageId, Step] = field(default_factory=dict)
    bodies: dict[MessageId, Body] = field(default_factory=dict)
    books: dict[str, BookCell] = field(default_factory=dict)

    def open_segment(self, segment: int, *, epoch: int, owner: bytes) -> bool:
        if segment in self.segments:
            return False
        self.segments[segment] = Ownership(epoch, owner)
        return True

    def take_over(self, segment: int, *, expected_epoch: int, owner: bytes) -> bool:
        there = self.segments.get(segment)
        if there is None or there.epoch != expected_epoch:
            return False
        self.segments[segment] = Ownership(expected_epoch + 1, owner)
        return True

    def close_segment(self, segment: int, *, epoch: int) -> bool:
        there = self.segments.get(segment)
        if there is None or there.epoch != epoch:
            return False
        self.segments[segment] = Ownership(-epoch, there.owner)
        return True

    def append(self, segment: int, *, epoch: int, seq: int, body: bytes) -> bool:
        there = self.segments.get(segment)
        if there is None or there.epoch != epoch:
            return False
        return self.journal.setdefault(segment, {}).setdefault(seq, body) == body

    def write_hint(self, segment: int) -> None:
        self.hint = max(self.hint, segment)

    def write_rows(self, ids: list[MessageId]) -> None:
        self.rows += ids

    def project(self, message_id: MessageId, step: Step) -> None:
        self.steps[message_id] = max(step, self.steps.get(message_id, step))

    def write_body(self, message_id: MessageId, body: Body) -> None:
        self.bodies.setdefault(message_id, body)

    def write_book(self, cell: BookCell) -> None:
        if cell.as_of >= self.books.get(cell.book, cell).as_of:
            self.books[cell.book] = cell
