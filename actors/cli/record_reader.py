"""Readers of records: JSON lines and unquoted tables; `csv_reader.py` has the quoted ones.

Lines arrive some hundreds at a time and are taken together as long as all of them are good, which
is one call into C for each step.  Where one is not, these are gone through one by one, so that
exactly that record is refused, with its line number and what to change.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Final

import msgspec

from actors.cli.lines import Lines, LineSource, Overlong
from actors.cli.record_batch import RecordBatch, Refused
from pipeline.ingest.template import listed
from pipeline.limits import COLUMNS_MAX, LINE_BYTES_MAX

_decode_object: Final = msgspec.json.Decoder(dict[str, object]).decode


class RecordReader(ABC):
    """Reads the records of a source, once, in order.

    `columns`, once they are known, are what each row must have; until then any row is taken.
    """

    columns: Sequence[str] | None = None

    def __init__(self, source: LineSource) -> None:
        self._source = source
        self._held: RecordBatch | None = None

    def read(self, count: int) -> RecordBatch:
        """Return the next records: at least one, at most `count`, and none at the end.

        A batch holds about a block of the source, however long the records are.
        """
        if self._held is not None:
            batch, self._held = self._held, None
            return batch
        batch = RecordBatch()
        while not batch.count:
            taken = self._source.take(count)
            match taken:
                case Overlong():
                    self._read_overlong(taken, batch)
                case Lines(lines=[]):
                    self._end(batch)
                    break
                case Lines():
                    self._read_lines(taken.lines, taken.first_number, batch)
        return batch

    def hold(self, batch: RecordBatch) -> None:
        """Give back a batch that was just read; the next `read` returns it."""
        assert self._held is None
        self._held = batch

    @property
    def bytes_read(self) -> int:
        """How far into the source the records reach that were read."""
        return self._source.bytes_read

    @abstractmethod
    def _read_lines(self, lines: list[bytes], first_line: int, batch: RecordBatch) -> None:
        """Add the records of the lines to the batch: at most one for each line."""

    def _read_overlong(self, overlong: Overlong, batch: RecordBatch) -> None:
        batch.refuse(
            Refused(
                line_number=overlong.number,
                reason=too_long(overlong.size),
                raw=overlong.head,
                is_whole=False,
            )
        )

    def _end(self, batch: RecordBatch) -> None:  # noqa: B027  # most readers leave nothing open
        """Add what is still open at the end of the source."""


def too_long(size: int) -> str:
    """Return why a record of this many bytes is refused."""
    return f"the record has {size:,} bytes, at most {LINE_BYTES_MAX:,} can be read"


def not_utf8(raw: bytes) -> str | None:
    """Return where a record is not UTF-8, None if it is."""
    try:
        raw.decode()
    except UnicodeDecodeError as error:
        byte = raw[error.start]
        return f"byte {error.start + 1} (0x{byte:02x}) is not UTF-8; save the file as UTF-8"
    return None


class JsonLinesReader(RecordReader):
    """One JSON object on each line; lines of blanks alone are no records."""

    def _read_lines(self, lines: list[bytes], first_line: int, batch: RecordBatch) -> None:
        try:
            rows = list(map(_decode_object, lines))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            self._read_each(lines, first_line, batch)
        else:
            batch.extend(rows, lines, first_line=first_line)

    def _read_each(self, lines: list[bytes], first_line: int, batch: RecordBatch) -> None:
        for number, line in enumerate(lines, first_line):
            if not line.strip():
                continue
            try:
                batch.append(_decode_object(line), line, line_number=number)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                reason = not_utf8(line) or f"not a JSON object: {error}"
                batch.refuse(Refused(line_number=number, reason=reason, raw=line))


class TableReader(RecordReader):
    """Rows of texts, which must have as many columns as the table has."""

    def _accept_each(
        self,
        rows: Sequence[list[str]],
        raws: Sequence[bytes],
        line_numbers: Sequence[int],
        batch: RecordBatch,
        *,
        is_utf8: bool,
    ) -> None:
        for row, raw, number in zip(rows, raws, line_numbers, strict=True):
            if not raw or raw == b"\r":
                continue
            reason = (None if is_utf8 else not_utf8(raw)) or self._misfit(row)
            if reason:
                batch.refuse(Refused(line_number=number, reason=reason, raw=raw))
            else:
                batch.append(row, raw, line_number=number)

    def _accept(
        self,
        rows: Sequence[list[str]],
        lines: Sequence[bytes],
        first_line: int,
        batch: RecordBatch,
        *,
        is_utf8: bool,
    ) -> None:
        """Add one row for each line."""
        # In a table of one column a blank line has as many as any other, but is no record.
        fits = self.columns is not None and {len(self.columns)} == set(map(len, rows))
        if fits and is_utf8 and all(lines) and b"\r" not in lines:
            batch.extend(rows, lines, first_line=first_line)
        else:
            numbers = range(first_line, first_line + len(lines))
            self._accept_each(rows, lines, numbers, batch, is_utf8=is_utf8)

    def _misfit(self, row: list[str]) -> str | None:
        if len(row) > COLUMNS_MAX:
            return f"more than {COLUMNS_MAX} columns"
        if self.columns is None or len(row) == len(self.columns):
            return None
        found = "1 column" if len(row) == 1 else f"{len(row)} columns"
        return f"{found}, expected {len(self.columns)}: {listed(self.columns)}"


def decoded(lines: list[bytes]) -> tuple[str, bool]:
    """Return the lines as one text, and whether they are UTF-8.

    What is not becomes lone surrogates, so that the columns of the other records can be found.
    """
    joined = b"\n".join(lines)
    try:
        return joined.decode(), True
    except UnicodeDecodeError:
        return joined.decode(errors="surrogateescape"), False


class UnquotedReader(TableReader):
    """One row on each line, a tab between columns; quotes are characters as any other."""

    def _read_lines(self, lines: list[bytes], first_line: int, batch: RecordBatch) -> None:
        text, is_utf8 = decoded(lines)
        texts = text.split("\n")
        if "\r" in text:
            texts = [line.removesuffix("\r") for line in texts]
        rows = [line.split("\t", COLUMNS_MAX) for line in texts]
        self._accept(rows, lines, first_line, batch, is_utf8=is_utf8)
