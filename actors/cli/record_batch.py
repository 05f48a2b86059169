"""Records in order, some hundreds at a time, and the ones among them that could not be read."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from pipeline.ingest.template import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """One record that was not accepted, and why."""

    line_number: int  # of its first line, counted from 1
    reason: str
    raw: bytes  # as it was read, without the last line feed
    is_whole: bool = True  # False: `raw` is only its beginning


@dataclass(slots=True)
class RecordBatch:
    """Records in a row; the columns `rows` to `raws` have one length.

    `positions` are the places of the rows among all `count` records, the refused ones included.
    """

    rows: list[Record] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    line_numbers: list[int] = field(default_factory=list)
    raws: list[bytes] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    count: int = 0

    def extend(self, rows: Sequence[Record], raws: Sequence[bytes], *, first_line: int) -> None:
        """Add rows of one line each, line by line."""
        count = len(rows)
        self.rows.extend(rows)
        self.raws.extend(raws)
        self.positions.extend(range(self.count, self.count + count))
        self.line_numbers.extend(range(first_line, first_line + count))
        self.count += count

    def append(self, row: Record, raw: bytes, *, line_number: int) -> None:
        """Add one row."""
        self.extend((row,), (raw,), first_line=line_number)

    def refuse(self, refused: Refused) -> None:
        """Add a record that could not be read; it has a place of its own."""
        self.refused.append(refused)
        self.count += 1
