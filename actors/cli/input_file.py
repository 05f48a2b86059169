"""Opening what a person wants to send: which format it has, and what its columns are called.

Everything that makes a whole file useless is found here, before anything is sent, and told in one
line that says what to change.  What is wrong with one record is the business of the readers.
"""

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path
from typing import Final

import msgspec

from actors.cli.column_names import is_header
from actors.cli.csv_reader import CsvReader
from actors.cli.lines import ByteStream, LineSource, Overlong
from actors.cli.record_reader import (
    JsonLinesReader,
    RecordReader,
    TableReader,
    UnquotedReader,
    not_utf8,
    too_long,
)
from actors.cli.table_shape import TableShape, shape_of
from pipeline.errors import InputInvalid

STANDARD_INPUT: Final = "-"
DELIMITERS: Final = (",", ";", "|")


class InputFormat(StrEnum):
    """How records are written."""

    JSONL = "jsonl"
    CSV = "csv"
    TSV = "tsv"  # without quotes: a tab splits, and nothing else means anything


_BY_SUFFIX: Final = {
    ".jsonl": InputFormat.JSONL,
    ".ndjson": InputFormat.JSONL,
    ".json": InputFormat.JSONL,
    ".csv": InputFormat.CSV,
    ".tsv": InputFormat.TSV,
    ".tab": InputFormat.TSV,
}


def format_by_suffix(path: Path) -> InputFormat | None:
    """Return the format that a file's name tells, None if it tells none."""
    return _BY_SUFFIX.get(path.suffix.lower())


_MAGIC: Final = (
    (b"\x1f\x8b", "is compressed; unpack it first, or: gunzip -c FILE | shardpost send -"),
    (b"PK\x03\x04", "is a ZIP archive or a spreadsheet; save the sheet as CSV"),
    (b"\xd0\xcf\x11\xe0", "is an old spreadsheet; save the sheet as CSV"),
    (b"%PDF", "is a PDF; export the data as CSV"),
    (b"SQLite format 3", "is a database; export the table as CSV"),
    (b"\xff\xfe", "is UTF-16; save it as UTF-8"),
    (b"\xfe\xff", "is UTF-16; save it as UTF-8"),
)
_SAMPLE_BYTES: Final = 8 * 1024
_SAMPLE_LINES: Final = 100
# What text does not hold; NUL among them.
_CONTROLS: Final = bytes({*range(32)} - {*b"\t\n\r\f\x1b"})


@dataclass(frozen=True, slots=True, kw_only=True)
class FileState:
    """What of a regular file is another when its content is."""

    inode: tuple[int, int]
    size_bytes: int
    modified_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> "FileState":
        """Return the state that the system tells."""
        return cls(
            inode=(status.st_dev, status.st_ino),
            size_bytes=status.st_size,
            modified_ns=status.st_mtime_ns,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedFile:
    """A regular file, and how it was when it was opened."""

    descriptor: int
    state: FileState

    def is_unchanged(self) -> bool:
        """Return whether the file that was opened is as it was; another of its name is no change.

        A change that leaves size and time as they were is not seen.
        """
        return FileState.of(os.fstat(self.descriptor)) == self.state


@dataclass(frozen=True, slots=True, kw_only=True)
class InputFile:
    """Records that can be read, and how they were understood."""

    name: str
    path: Path | None  # None: standard input
    regular: OpenedFile | None  # None: what can be read once, and is not there as a whole
    format: InputFormat
    format_reason: str  # how the format was found, for a person to read
    columns: tuple[str, ...]
    columns_reason: str
    are_columns_numbered: bool
    header: bytes | None  # the line that names the columns, as it was read
    hint: str  # what a person may have meant if columns are missing; or nothing
    reader: RecordReader
    source: LineSource

    @property
    def has_rows(self) -> bool:
        """Whether records are sequences in the order of `columns`, not mappings."""
        return self.format is not InputFormat.JSONL

    @property
    def is_regular(self) -> bool:
        """Whether it is a file that can be read twice and is there as a whole."""
        return self.regular is not None

    @property
    def size_bytes(self) -> int | None:
        """How large it is, None if that is not known before the end."""
        return None if self.regular is None else self.regular.state.size_bytes

    def refuse_change(self) -> None:
        """Raise `InputInvalid` if a regular file is no longer what it was when it was opened."""
        if self.regular is not None and not self.regular.is_unchanged():
            raise InputInvalid(
                f"{self.name}: was changed while it was read, so that it is neither the old file"
                " nor the new one; send it again when nobody writes to it"
            )

    def describe(self) -> str:
        """Return one line that says how the input is read."""
        return f"{self.name}: {self.format} ({self.format_reason}), {self.columns_reason}"

    def close(self) -> None:
        """Close the stream; may be called twice."""
        self.source.close()


def open_input(
    path: str,
    *,
    standard_input: ByteStream | None = None,
    format_name: str | None = None,
    columns: Sequence[str] | None = None,
    has_header: bool | None = None,
    delimiter: str | None = None,
    otherwise: InputFormat | None = None,
) -> InputFile:
    """Open a file, or standard input for `-`, and find out how to read it.

    `columns` are the names a person gave; `has_header` is whether the first line names columns,
    `delimiter` what parts the columns of CSV; None to find out.  `otherwise`: the format where
    neither the name nor the first line tells it.  Raises `InputInvalid`, which says
    in one line what to change.
    """
    if delimiter is not None and delimiter not in DELIMITERS:
        raise InputInvalid(f"--delimiter {delimiter!r}: not one of {' '.join(DELIMITERS)}")
    if path == STANDARD_INPUT:
        if standard_input is None:
            raise InputInvalid("standard input cannot be sent here; name a file")
        name, regular, source = "standard input", None, LineSource(standard_input)
    else:
        name = path
        stream, regular = _open(Path(path))
        source = LineSource(stream)
    try:
        return _understand(
            name=name,
            path=None if path == STANDARD_INPUT else Path(path),
            regular=regular,
            source=source,
            format_name=format_name,
            columns=columns,
            has_header=has_header,
            delimiter=delimiter,
            otherwise=otherwise,
        )
    except BaseException:
        if path != STANDARD_INPUT:
            source.close()
        raise


def _open(path: Path) -> tuple[ByteStream, OpenedFile | None]:
    try:
        stream = path.open("rb")
    except FileNotFoundError:
        near = get_close_matches(path.name, _names_beside(path), n=1)
        hint = f"; did you mean {path.with_name(near[0])}?" if near else ""
        raise InputInvalid(f"{path}: there is no such file{hint}") from None
    except IsADirectoryError:
        raise InputInvalid(f"{path}: is a folder; name a file in it") from None
    except PermissionError:
        raise InputInvalid(f"{path}: may not be read; chmod +r makes it readable") from None
    except OSError as error:
        raise InputInvalid(f"{path}: cannot be opened: {error.strerror}") from None
    except ValueError:
        raise InputInvalid(f"{str(path)!r}: cannot be the name of a file") from None
    status = os.fstat(stream.fileno())
    if not stat.S_ISREG(status.st_mode):
        return stream, None
    return stream, OpenedFile(descriptor=stream.fileno(), state=FileState.of(status))


def _names_beside(path: Path) -> list[str]:
    try:
        return [entry.name for entry in path.parent.iterdir()]
    except OSError:
        return []


def _understand(
    *,
    name: str,
    path: Path | None,
    regular: OpenedFile | None,
    source: LineSource,
    format_name: str | None,
    columns: Sequence[str] | None,
    has_header: bool | None,
    delimiter: str | None,
    otherwise: InputFormat | None,
) -> InputFile:
    try:
        sample = source.peek()
    except OSError as error:
        raise InputInvalid(f"{name}: cannot be read: {error.strerror}") from None
    _refuse_unreadable(name, sample)
    format_, format_reason = _format_of(name, path, format_name, sample, delimiter, otherwise)
    hint = ""
    if delimiter is not None and format_ is not InputFormat.CSV:
        raise InputInvalid(f"{name}: is read as {format_}; --delimiter is for CSV")
    if format_ is InputFormat.JSONL:
        if columns is not None or has_header is not None:
            raise InputInvalid(
                f"{name}: JSON lines name their own columns; leave out --columns and --header"
            )
        reader: RecordReader = JsonLinesReader(source)
        reader.columns = found = _keys_of(name, sample, source)
        shape = TableShape(found, f"columns {', '.join(found[:10])}")
    else:
        table: TableReader = UnquotedReader(source)
        if format_ is InputFormat.CSV:
            if delimiter is None and _has_semicolons_only(sample):
                if _is_header_by_semicolons(sample):
                    delimiter = ";"
                else:
                    hint = (
                        "; its first line has ; and no comma: --delimiter ';' may be what is meant"
                    )
            table = CsvReader(source, delimiter=delimiter or ",")
            if delimiter not in (None, ","):
                format_reason += f", delimiter {delimiter}"
        reader, shape = table, shape_of(name, table, columns, has_header, hint)
    return InputFile(
        name=name,
        path=path,
        regular=regular,
        format=format_,
        format_reason=format_reason,
        columns=shape.columns,
        columns_reason=shape.reason,
        are_columns_numbered=shape.are_numbered,
        header=shape.header,
        hint=hint,
        reader=reader,
        source=source,
    )


def _refuse_unreadable(name: str, sample: bytes) -> None:
    if not sample.strip():
        raise InputInvalid(f"{name}: is empty; there is nothing to send")
    for magic, what in _MAGIC:
        if sample.startswith(magic):
            raise InputInvalid(f"{name}: {what}")
    start = sample[:_SAMPLE_BYTES]
    # Every other byte of Latin text in UTF-16 is NUL.
    if sum(start[side::2].count(0) * 3 > len(start) for side in (0, 1)) == 1:
        raise InputInvalid(f"{name}: is UTF-16; save it as UTF-8")
    controls = len(start) - len(start.translate(None, _CONTROLS))
    if controls >= 4 and controls * 20 > len(start):
        raise InputInvalid(f"{name}: is not text; send JSON lines, CSV or TSV")
    if b"\n" not in sample and b"\r" in sample.rstrip(b"\r"):
        raise InputInvalid(
            f"{name}: its lines end with a carriage return alone;"
            " convert it, for example: tr '\\r' '\\n'"
        )


def _format_of(
    name: str,
    path: Path | None,
    format_name: str | None,
    sample: bytes,
    delimiter: str | None,
    otherwise: InputFormat | None,
) -> tuple[InputFormat, str]:
    if format_name is not None:
        try:
            return InputFormat(format_name.lower()), "by --format"
        except ValueError:
            known = ", ".join(InputFormat)
            raise InputInvalid(f"--format {format_name}: not a format; one of {known}") from None
    if path is not None and (by_suffix := format_by_suffix(path)):
        return by_suffix, "by its name"
    if delimiter is not None:
        return InputFormat.CSV, "by --delimiter"
    line = _first_line(sample)
    for mark, format_ in ((b"\t", InputFormat.TSV), (b",", InputFormat.CSV)):
        if line.startswith((b"{", b"[")):
            return InputFormat.JSONL, "by its first line"
        if mark in line:
            return format_, "by its first line"
    if _is_header_by_semicolons(sample):
        return InputFormat.CSV, "by its first line"
    if otherwise is not None:
        return otherwise, "as nothing else tells it"
    raise InputInvalid(f"{name}: its first line does not tell the format; say --format jsonl")


def _first_line(sample: bytes) -> bytes:
    return sample.lstrip(b"\r\n ").partition(b"\n")[0]


def _has_semicolons_only(sample: bytes) -> bool:
    """Return whether the first line may be parted by semicolons, as spreadsheets do in Europe."""
    line = _first_line(sample)
    return b";" in line and b"," not in line


def _is_header_by_semicolons(sample: bytes) -> bool:
    names = _first_line(sample).decode(errors="replace").split(";")
    return len(names) > 1 and is_header([name.strip().strip('"') for name in names])


def _keys_of(name: str, sample: bytes, source: LineSource) -> tuple[str, ...]:
    """Return the keys of the first objects, in the order of their appearance."""
    if sample.lstrip().startswith(b"["):
        raise InputInvalid(
            f"{name}: is a JSON array; write one object on each line, for example: jq -c '.[]'"
        )
    keys: dict[str, None] = {}
    first_reason = ""
    lines = sample.split(b"\n", _SAMPLE_LINES)[:_SAMPLE_LINES]
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            keys.update(dict.fromkeys(msgspec.json.decode(line, type=dict[str, object])))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            reason = not_utf8(line) or f"not a JSON object: {error}"
            first_reason = first_reason or f"line {number}: {reason}"
    if not keys:
        first = source.take(1)
        if isinstance(first, Overlong):
            first_reason = f"line {first.number}: {too_long(first.size)}"
        raise InputInvalid(f"{name}: {first_reason or 'its first object is empty'}")
    return tuple(keys)
