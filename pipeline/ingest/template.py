"""Templates: how the columns of a record become the text of a field.

`{column}` stands for a value, `{column|text}` for a value or, where it is empty, the text, `{#}`
for the number of the record, `{{` and `}}` for braces.  That is all: no formats, no attributes, no
code, because templates come from command lines and requests.

A template is compiled once against the columns that exist, so that a misspelt name is found before
anything is sent, and renders a thousand records at a time, column by column: each step is then one
call into C instead of a thousand turns of a loop.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import repeat
from operator import itemgetter
from typing import Any, Final, NamedTuple

from pipeline.errors import SubmissionInvalid
from pipeline.limits import LINE_BYTES_MAX

Record = Mapping[str, object] | Sequence[str]
"""The values of one record, by name (a JSON object) or by position (a row of a table)."""

_COLUMNS_SHOWN_MAX: Final = 20
_TEMPLATE_CHARS_MAX: Final = LINE_BYTES_MAX

_token: Final = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


class Rendered(NamedTuple):
    """One text for each record; where `failed` names a reason, the text is empty."""

    values: Sequence[str]
    failed: Mapping[int, str]  # position -> reason


class _Column(NamedTuple):
    name: str
    key: str | int
    default: str | None


class _Number(NamedTuple):
    """The place of the record's number."""


_Piece = str | _Column | _Number


@dataclass(frozen=True, slots=True)
class Template:
    """A compiled template; make one with `compile_template` or `constant_template`."""

    text: str
    pieces: tuple[_Piece, ...]

    @property
    def constant(self) -> str | None:
        """The text that every record gets, None if it depends on the record."""
        match self.pieces:
            case ():
                return ""
            case (str() as text,):
                return text
            case _:
                return None

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are used, in the order of their first use."""
        names = (piece.name for piece in self.pieces if isinstance(piece, _Column))
        return tuple(dict.fromkeys(names))

    def render_all(self, records: Sequence[Record], numbers: Sequence[int]) -> Rendered:
        """Return the text for each record; `numbers` are those of `{#}`.

        A record whose value is missing or empty, and has no default, fails by itself.
        """
        parts = [self._part(piece, records, numbers) for piece in self.pieces]
        failed: dict[int, str] = {}
        for part in parts:
            for position, reason in part.failed.items():
                failed.setdefault(position, reason)
        if len(parts) == 1:
            return Rendered(parts[0].values, failed)
        texts = list(map("".join, zip(*(part.values for part in parts), strict=True)))
        if not parts:
            texts = [""] * len(records)
        for position in failed:
            texts[position] = ""
        return Rendered(texts, failed)

    @staticmethod
    def _part(piece: _Piece, records: Sequence[Record], numbers: Sequence[int]) -> Rendered:
        match piece:
            case str():
                return Rendered(list(repeat(piece, len(records))), {})
            case _Number():
                return Rendered(list(map(str, numbers)), {})
            case _Column():
                return _values_of(piece, records)


def _values_of(column: _Column, records: Sequence[Record]) -> Rendered:
    get: Any = itemgetter(column.key)
    try:
        values = list(map(get, records))
        # The common case: every value is there, is a text, and is not blank.  `str.strip` of
        # anything but a text raises TypeError.
        if all(map(str.strip, values)):
            return Rendered(values, {})
    except (KeyError, IndexError, TypeError):
        pass
    values, failed = [], {}
    for position, record in enumerate(records):
        value, reason = _value_of(column, record)
        values.append(value)
        if reason:
            failed[position] = reason
    return Rendered(values, failed)


def _value_of(column: _Column, record: Any) -> tuple[str, str]:  # noqa: ANN401  # see Record
    """Return the value as text and "", or "" and why there is none."""
    try:
        value = record[column.key]
    except (KeyError, IndexError):
        value = None
    match value:
        case str():
            text = value
        case bool():
            text = "true" if value else "false"
        case None:
            text = ""
        case int() | float():
            try:
                text = str(value)
            except ValueError:
                return "", f"column {column.name!r} holds a number of too many digits"
        case _:
            return "", f"column {column.name!r} holds a list or an object, not a text"
    if text.strip():
        return text, ""
    if column.default is not None:
        return column.default, ""
    return "", f"column {column.name!r} is empty; give it a value, or a default: " + (
        f"{{{column.name}|default}}"
    )


def constant_template(text: str) -> Template:
    """Return the template that renders exactly this text."""
    return Template(text, (text,))


def column_template(
    column: str, *, columns: Sequence[str], by_position: bool, default: str | None = None
) -> Template:
    """Return the template that renders one of the columns, whatever characters its name has."""
    key = columns.index(column) if by_position else column
    return Template(f"{{{column}}}", (_Column(column, key, default),))


def compile_template(
    field: str, text: str, *, columns: Sequence[str], by_position: bool
) -> Template:
    """Return the template of a field against the columns that exist.

    `by_position`: records are sequences in the order of `columns`, else mappings.  Raises
    `SubmissionInvalid` for the field: an unknown column, a brace that stands alone.
    """
    if len(text) > _TEMPLATE_CHARS_MAX:
        raise SubmissionInvalid(field, f"a template has at most {_TEMPLATE_CHARS_MAX} characters")
    pieces: list[_Piece] = []
    literal, end = "", 0
    for match in _token.finditer(text):
        literal += text[end : match.start()]
        end = match.end()
        token = match.group()
        if token in ("{{", "}}"):
            literal += token[0]
            continue
        if match[1] is None:
            raise SubmissionInvalid(
                field,
                f"a single {token} at character {match.start() + 1} of the template;"
                f" write {token * 2} for a brace, {{column}} for a value",
            )
        if literal:
            pieces.append(literal)
            literal = ""
        name, bar, default = match[1].partition("|")
        name = name.strip()
        if name == "#" and not bar:
            pieces.append(_Number())
            continue
        column = resolve_column(field, name, columns)
        key = columns.index(column) if by_position else column
        pieces.append(_Column(column, key, default if bar else None))
    literal += text[end:]
    if literal:
        pieces.append(literal)
    return Template(text, tuple(pieces))


def resolve_column(field: str, name: str, columns: Sequence[str]) -> str:
    """Return the column of that name, in any case if only one fits.

    Raises `SubmissionInvalid` for the field, naming the nearest column and those that exist.
    """
    if name in columns:
        return name
    folded = name.casefold()
    alike = [column for column in columns if column.casefold() == folded]
    if len(alike) == 1:
        return alike[0]
    names = {column.casefold(): column for column in columns}
    near = get_close_matches(folded, names, n=1) if folded and not alike else []
    hint = f"; did you mean {{{names[near[0]]}}}?" if near else ""
    shown = name if len(name) <= 64 else f"{name[:63]}…"
    raise SubmissionInvalid(field, f"no column {shown!r}{hint}; there are: {listed(columns)}")


def listed(columns: Sequence[str]) -> str:
    """Return the names of columns for a person to read."""
    if not columns:
        return "none"
    shown = ", ".join(columns[:_COLUMNS_SHOWN_MAX])
    more = len(columns) - _COLUMNS_SHOWN_MAX
    return f"{shown} and {more} more" if more > 0 else shown
