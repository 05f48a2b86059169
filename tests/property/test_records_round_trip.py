"""What was written as JSON lines, CSV or TSV is read as it was, wherever a batch is cut."""

import csv
import io
import json

from hypothesis import given
from hypothesis import strategies as st

from actors.cli.csv_reader import CsvReader
from actors.cli.lines import LineSource
from actors.cli.record_reader import JsonLinesReader, RecordReader, UnquotedReader

# What a person may write, and above all what means something to one of the formats.
TEXTS = st.text(
    st.one_of(
        st.sampled_from("ab,;\"'\t\n\r\\{}\u2028\ufeff\0 é😀"),
        st.characters(exclude_categories=["Cs"]),
    ),
    max_size=12,
)
TABLES = st.integers(1, 4).flatmap(
    lambda width: st.lists(st.lists(TEXTS, min_size=width, max_size=width), max_size=12)
)
COUNTS = st.integers(1, 20)


class Drip:
    def __init__(self, data: bytes, size: int) -> None:
        self._data = io.BytesIO(data)
        self._size = size

    def read1(self, size: int = -1, /) -> bytes:
        return self._data.read(min(size, self._size))

    def close(self) -> None:
        return


def read_rows(
    kind: type[RecordReader], data: bytes, columns: list[str] | None, count: int
) -> list[object]:
    reader = kind(LineSource(Drip(data, count * 5)))
    reader.columns = columns
    rows: list[object] = []
    while (batch := reader.read(count)).count:
        assert not batch.refused
        rows += batch.rows
    return rows


def names(rows: list[list[str]]) -> list[str] | None:
    return [str(place) for place in range(len(rows[0]))] if rows else None


@given(
    rows=TABLES,
    terminator=st.sampled_from(["\n", "\r\n"]),
    quoting=st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL, csv.QUOTE_NONNUMERIC]),
    count=COUNTS,
)
def test_csv(rows: list[list[str]], terminator: str, quoting: int, count: int) -> None:
    if quoting == csv.QUOTE_MINIMAL:
        # Older writers leave a carriage return without quotes, where it would end the row.
        rows = [[cell.replace("\r", "_") for cell in row] for row in rows]
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator=terminator, quoting=quoting)  # type: ignore[arg-type]
    writer.writerows(rows)
    data = buffer.getvalue().encode()
    if data.startswith("\ufeff".encode()):
        # The first character of a file is a mark only where a writer put it for that.
        data = "\ufeff".encode() + data
    assert read_rows(CsvReader, data, names(rows), count) == rows


@given(rows=TABLES, terminator=st.sampled_from(["\n", "\r\n"]), count=COUNTS)
def test_tsv(rows: list[list[str]], terminator: str, count: int) -> None:
    # Without quotes a text cannot hold what ends it, and a row of nothing is a blank line.
    plain = [[cell.translate({9: "_", 10: "_", 13: "_"}) for cell in row] for row in rows]
    plain = [row for row in plain if row != [""]]
    data = "".join("\t".join(row) + terminator for row in plain).encode()
    if data.startswith("\ufeff".encode()):
        data = "\ufeff".encode() + data
    assert read_rows(UnquotedReader, data, names(plain), count) == plain


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | TEXTS,
    lambda values: st.lists(values, max_size=3) | st.dictionaries(TEXTS, values, max_size=3),
    max_leaves=5,
).filter(lambda value: "inf" not in repr(value))


@given(
    objects=st.lists(st.dictionaries(TEXTS, JSON_VALUES, max_size=4), max_size=12),
    terminator=st.sampled_from(["\n", "\r\n", "\n\n", " \n"]),
    is_ascii=st.booleans(),
    count=COUNTS,
)
def test_json_lines(
    objects: list[dict[str, object]], terminator: str, is_ascii: bool, count: int
) -> None:
    data = "".join(json.dumps(one, ensure_ascii=is_ascii) + terminator for one in objects).encode()
    assert read_rows(JsonLinesReader, data, None, count) == objects
