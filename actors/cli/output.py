"""How answers are written: tables for people, lines for programs, one document of JSON.

Standard output holds the answer and nothing else.  A person at a terminal gets a table with lines
and colours; through a pipe the same table is plain, aligned text.  What users of the platform
wrote (names, contents, reasons) may hold anything, so it is shown with what no terminal should be
told made harmless.
"""

import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

import msgspec

from pipeline.instant import Instant

_US_PER_S: Final = 1_000_000
_US_PER_MS: Final = 1_000

# Of these, the right end is what people compare.
Cell = str | int | None


def write_json(document: msgspec.Struct) -> None:
    """Write a document, on one line."""
    sys.stdout.write(msgspec.json.encode(document).decode() + "\n")


def write_line(text: str = "") -> None:
    """Write a line."""
    sys.stdout.write(printable(text) + "\n")


def write_table(columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
    """Write rows under their headings; numbers stand to the right, None is a dash."""
    numbers = [
        bool(rows) and all(isinstance(row[n], int | None) for row in rows)
        for n in range(len(columns))
    ]
    shown = [[_shown(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        _write_rich(columns, shown, numbers)
    else:
        _write_plain(columns, shown, numbers)


def write_fields(fields: Mapping[str, Cell]) -> None:
    """Write names and values, one a line."""
    width = max(map(len, fields))
    for name, value in fields.items():
        write_line(f"{name.ljust(width)}  {_shown(value)}")


def printable(text: str) -> str:
    """Return the text without anything that would move a cursor or change a colour."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else repr(character)[1:-1] for character in text
    )


def counted(count: int, thing: str) -> str:
    """Return how many there are of a thing, by its name in the singular."""
    return f"{count:,} {thing}" if count == 1 else f"{count:,} {thing}s"


def shown_instant(instant: Instant) -> str:
    """Return an instant as ISO 8601 in UTC, to the millisecond."""
    return datetime.fromtimestamp(instant / _US_PER_S, tz=UTC).isoformat(timespec="milliseconds")


def shown_span(span_us: int) -> str:
    """Return a length of time, as precise as a person wants it."""
    if abs(span_us) < _US_PER_S:
        return f"{span_us / _US_PER_MS:.1f} ms"
    seconds = span_us / _US_PER_S
    if abs(seconds) < 120:
        return f"{seconds:.1f} s"
    minutes, hours, days = seconds / 60, seconds / 3_600, seconds / 86_400
    if minutes < 120:
        return f"{minutes:.0f} min"
    return f"{hours:.0f} h" if hours < 48 else f"{days:.0f} days"


def _shown(cell: Cell) -> str:
    match cell:
        case None:
            return "-"
        case int():
            return f"{cell:,}"
        case str():
            return printable(cell)


def _write_plain(
    columns: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[bool]
) -> None:
    widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
    for row in (columns, *rows):
        cells = [
            cell.rjust(width) if is_number else cell.ljust(width)
            for cell, width, is_number in zip(row, widths, numbers, strict=True)
        ]
        sys.stdout.write("  ".join(cells).rstrip() + "\n")


def _write_rich(
    columns: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[bool]
) -> None:
    # Imported for terminals only: a program that reads the answer should not wait for colours.
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name, is_number in zip(columns, numbers, strict=True):
        table.add_column(name, justify="right" if is_number else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    console = Console(file=sys.stdout)
    with console.capture() as captured:
        console.print(table)
    # Not by the console itself, which ends the process when nobody reads.
    sys.stdout.write(captured.get())
