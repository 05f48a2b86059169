"""What the columns of a table are called: by a person, by its first line, or by their numbers."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from actors.cli.column_names import checked_names, is_header, numbered_names
from actors.cli.record_reader import TableReader
from pipeline.errors import InputInvalid


@dataclass(frozen=True, slots=True)
class TableShape:
    """The columns of a table, and how they were found."""

    columns: tuple[str, ...]
    reason: str
    header: bytes | None = None
    are_numbered: bool = False


def shape_of(
    name: str,
    reader: TableReader,
    columns: Sequence[str] | None,
    has_header: bool | None,
    hint: str,
) -> TableShape:
    """Return the shape of a table, and leave its reader before the first record."""
    given = None
    if columns is not None:
        given = checked_names(columns, of_what="--columns")
    first = reader.read(1)
    if not first.rows:
        if not first.refused:
            raise InputInvalid(f"{name}: holds no record")
        if given is None or has_header:
            refused = first.refused[0]
            raise InputInvalid(
                f"{name}: line {refused.line_number}: {refused.reason}"
                " (the first line tells the columns)"
            )
        reader.columns = given
        reader.hold(first)
        return TableShape(given, "columns by --columns")
    row = first.rows[0]
    assert isinstance(row, list)
    if given is not None and len(given) != len(row):
        raise InputInvalid(
            f"--columns names {len(given)} columns, but line {first.line_numbers[0]} of {name}"
            f" has {len(row)}{hint}"
        )
    if has_header is None:
        has_header = (
            is_header(row)
            if given is None
            else [cell.strip().casefold() for cell in row] == [*map(str.casefold, given)]
        )
    if given is not None:
        shape = TableShape(given, "columns by --columns")
    elif has_header:
        found = checked_names(row, of_what=f"{name}, first line")
        shape = TableShape(found, "columns by its first line")
    else:
        numbered = numbered_names(len(row))
        called = f"no header: its columns are called {', '.join(numbered[:10])}"
        shape = TableShape(numbered, called, are_numbered=True)
    reader.columns = shape.columns
    if not has_header:
        reader.hold(first)
        return shape
    second = reader.read(1)
    if not second.count:
        raise InputInvalid(f"{name}: holds the names of columns but no record")
    reader.hold(second)
    return replace(shape, header=first.raws[0])
