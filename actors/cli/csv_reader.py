"""Records of CSV: rows whose quoted fields may hold delimiters, quotes and line feeds.

The `csv` module of the standard library reads the rows; this one finds which lines belong to which
row.  It does so strictly: of a stray quote a lenient reader makes one field out of many lines, and
the texts of other people's messages would be sent.  A quoted field that stays open is read on in
memory up to the limit of a record; from then on only its end is looked for.
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from actors.cli.lines import LineSource, Overlong
from actors.cli.record_batch import RecordBatch, Refused
from actors.cli.record_reader import TableReader, decoded, too_long
from pipeline.limits import LINE_BYTES_MAX

# What the module says where a quoted field goes on after the last line.
_STILL_OPEN: Final = "unexpected end of data"
# The limit of a record is the one that counts; the module's own would lose its place in the file.
_FIELD_CHARS_MAX: Final = 4 * LINE_BYTES_MAX
_HEAD_BYTES: Final = 200


@dataclass(slots=True)
class _OpenRecord:
    """The lines of a record whose last field is quoted and not closed yet."""

    line_number: int
    lines: list[bytes] = field(default_factory=list)
    size: int = 0
    is_whole: bool = True

    def add(self, lines: Sequence[bytes]) -> None:
        self.lines.extend(lines)
        self.size += sum(map(len, lines)) + len(lines)
        if self.size > LINE_BYTES_MAX:
            self.forget()

    def forget(self, size: int = 0) -> None:
        """Keep the beginning only; `size` bytes more are gone already."""
        self.lines = [self.raw[:_HEAD_BYTES]]
        self.size += size
        self.is_whole = False

    @property
    def raw(self) -> bytes:
        return b"\n".join(self.lines)


class CsvReader(TableReader):
    """Rows in the dialect of spreadsheets: quotes that are doubled inside of quotes."""

    def __init__(self, source: LineSource, *, delimiter: str = ",") -> None:
        super().__init__(source)
        self._delimiter = delimiter
        self._open: _OpenRecord | None = None
        csv.field_size_limit(_FIELD_CHARS_MAX)

    def _read_lines(self, lines: list[bytes], first_line: int, batch: RecordBatch) -> None:
        text, is_utf8 = decoded(lines)
        # Only inside of quotes does the reader need to see the line feeds.
        has_quotes = '"' in text
        texts = list(io.StringIO(text + "\n", newline="\n")) if has_quotes else text.split("\n")
        start = 0
        if self._open is not None:
            start = self._continue(self._open, lines, texts, batch)
            if start == len(lines):
                return
            lines, texts = lines[start:], texts[start:]
        first_line += start
        try:
            rows = list(csv.reader(texts, strict=True, delimiter=self._delimiter))
        except csv.Error:
            rows = []
        if len(rows) == len(lines):
            self._accept(rows, lines, first_line, batch, is_utf8=is_utf8)
        else:
            self._read_each(lines, texts, first_line, batch, is_utf8=is_utf8)

    def _read_each(
        self,
        lines: list[bytes],
        texts: list[str],
        first_line: int,
        batch: RecordBatch,
        *,
        is_utf8: bool,
    ) -> None:
        rows: list[list[str]] = []
        raws: list[bytes] = []
        numbers: list[int] = []
        start = 0
        while start < len(lines):
            reader = csv.reader(islice(texts, start, None), strict=True, delimiter=self._delimiter)
            origin = start
            try:
                for row in reader:
                    end = origin + reader.line_num
                    rows.append(row)
                    raws.append(b"\n".join(lines[start:end]))
                    numbers.append(first_line + start)
                    start = end
            except csv.Error as error:
                # In order: what stood before the bad record comes before it.
                self._accept_each(rows, raws, numbers, batch, is_utf8=is_utf8)
                rows, raws, numbers = [], [], []
                if str(error) == _STILL_OPEN:
                    self._open = _OpenRecord(first_line + start)
                    self._open.add(lines[start:])
                    return
                end = origin + reader.line_num
                raw = b"\n".join(lines[start:end])
                self._refuse_malformed(error, raw, first_line + start, batch)
                start = end
        self._accept_each(rows, raws, numbers, batch, is_utf8=is_utf8)

    def _continue(
        self, record: _OpenRecord, lines: list[bytes], texts: list[str], batch: RecordBatch
    ) -> int:
        """Return how many of the lines belong to the open record; it may stay open after all."""
        count = _closing_line(texts, self._delimiter)
        if count is None:
            record.add(lines)
            return len(lines)
        record.add(lines[:count])
        self._close(record, batch)
        return count

    def _close(self, record: _OpenRecord, batch: RecordBatch) -> None:
        self._open = None
        if not record.is_whole:
            batch.refuse(
                Refused(
                    line_number=record.line_number,
                    reason=too_long(record.size),
                    raw=record.raw,
                    is_whole=False,
                )
            )
            return
        text, is_utf8 = decoded(record.lines)
        try:
            lines = io.StringIO(text, newline="\n")
            rows = list(csv.reader(lines, strict=True, delimiter=self._delimiter))
        except csv.Error as error:
            self._refuse_malformed(error, record.raw, record.line_number, batch)
        else:
            self._accept_each(rows, [record.raw], [record.line_number], batch, is_utf8=is_utf8)

    def _read_overlong(self, overlong: Overlong, batch: RecordBatch) -> None:
        if self._open is None:
            super()._read_overlong(overlong, batch)
            return
        self._open.forget(overlong.size)
        if overlong.quote_count % 2:
            self._close(self._open, batch)

    def _end(self, batch: RecordBatch) -> None:
        if self._open is None:
            return
        record, self._open = self._open, None
        batch.refuse(
            Refused(
                line_number=record.line_number,
                reason='a quote (") opens a field here that is not closed until the end of the'
                " file; close it, or double it if it is meant as a character",
                raw=record.raw,
                is_whole=record.is_whole,
            )
        )

    def _refuse_malformed(
        self, error: csv.Error, raw: bytes, line_number: int, batch: RecordBatch
    ) -> None:
        why = str(error)
        if "expected after" in why:
            why = 'a quote (") inside a quoted field must be doubled'
        elif "new-line character" in why:
            why = "a carriage return inside a field; put the field in quotes"
        batch.refuse(Refused(line_number=line_number, reason=why, raw=raw))


def _closing_line(texts: list[str], delimiter: str) -> int | None:
    """Return how many lines end an open quoted field and its row, None if all lie inside of it."""
    # A quote put before them makes the lines begin where the open field goes on.
    reader = csv.reader(['"' + texts[0], *texts[1:]], strict=True, delimiter=delimiter)
    try:
        next(reader)
    except csv.Error as error:
        if str(error) == _STILL_OPEN:
            return None
    return reader.line_num
