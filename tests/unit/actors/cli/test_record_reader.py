import io
from collections.abc import Sequence

import pytest

from actors.cli.csv_reader import CsvReader
from actors.cli.lines import LineSource
from actors.cli.record_batch import Refused
from actors.cli.record_reader import JsonLinesReader, RecordReader, UnquotedReader
from pipeline.ingest.template import Record
from pipeline.limits import COLUMNS_MAX, LINE_BYTES_MAX


def read_all(
    kind: type[RecordReader],
    data: bytes,
    columns: Sequence[str] | None = None,
    *,
    line_bytes_max: int = LINE_BYTES_MAX,
    count: int = 1_000,
) -> tuple[list[tuple[int, Record, bytes]], list[Refused]]:
    """Return (line, row, raw) of the records that were read, and those that were refused.

    Checks what holds for every batch.
    """
    reader = kind(LineSource(io.BytesIO(data), line_bytes_max=line_bytes_max))
    reader.columns = columns
    rows: list[tuple[int, Record, bytes]] = []
    refused: list[Refused] = []
    while True:
        batch = reader.read(count)
        assert batch.count == len(batch.rows) + len(batch.refused) <= count
        assert len(batch.rows) == len(batch.positions) == len(batch.line_numbers)
        assert len(batch.rows) == len(batch.raws)
        assert batch.positions == sorted(set(batch.positions))
        assert all(0 <= position < batch.count for position in batch.positions)
        if not batch.count:
            return rows, refused
        rows += zip(batch.line_numbers, batch.rows, batch.raws, strict=True)
        refused += batch.refused


def rows_of(kind: type[RecordReader], data: bytes, *columns: str) -> list[Record]:
    rows, refused = read_all(kind, data, columns or None)
    assert not refused
    return [row for _line, row, _raw in rows]


def refusals_of(kind: type[RecordReader], data: bytes, *columns: str) -> list[tuple[int, str]]:
    return [(one.line_number, one.reason) for one in read_all(kind, data, columns or None)[1]]


# --- JSON lines -----------------------------------------------------------------------------


def test_each_line_of_json_is_a_record_and_blank_lines_are_none() -> None:
    data = b'{"a": 1}\n\n  \r\n{"a": "\xc3\xa9", "b": null}\r\n{}'
    rows, refused = read_all(JsonLinesReader, data)
    assert not refused
    assert rows == [
        (1, {"a": 1}, b'{"a": 1}'),
        (4, {"a": "é", "b": None}, b'{"a": "\xc3\xa9", "b": null}\r'),
        (5, {}, b"{}"),
    ]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"[1]", "not a JSON object: Expected `object`, got `array`"),
        (b"{", "not a JSON object"),
        (b'{"a": 1} {"a": 2}', "not a JSON object: JSON is malformed: trailing characters"),
        (b'{"a": 1},{"a": 2}', "not a JSON object: JSON is malformed: trailing characters"),
        (b'{"a": NaN}', "not a JSON object"),
        (b'{"a": 1e999}', "not a JSON object: Number out of range"),
        (b'{"a": "\\ud800"}', "not a JSON object"),
        (b'{"a": "x\xffy"}', "byte 9 (0xff) is not UTF-8; save the file as UTF-8"),
        (b'{"a": "x\xed\xa0\x80"}', "byte 9 (0xed) is not UTF-8"),
        (b'{"a":' * 5_000, "not a JSON object"),
        (b"a,b", "not a JSON object"),
    ],
    ids=lambda value: repr(value[:20]),
)
def test_a_line_that_is_no_object_is_refused_alone(line: bytes, reason: str) -> None:
    data = b'{"a": 1}\n' + line + b'\n{"a": 2}\n'
    rows, refused = read_all(JsonLinesReader, data)
    assert [(number, row) for number, row, _raw in rows] == [(1, {"a": 1}), (3, {"a": 2})]
    assert [(one.line_number, one.raw, one.is_whole) for one in refused] == [(2, line, True)]
    assert refused[0].reason.startswith(reason)


def test_objects_do_not_reach_over_lines() -> None:
    data = b'{"a": [1\n2]}\n{"b": 1},{"c": 2}\n'
    assert [line for line, _reason in refusals_of(JsonLinesReader, data)] == [1, 2, 3]


# --- tables without quotes ------------------------------------------------------------------


def test_a_tab_splits_and_nothing_else_means_anything() -> None:
    data = b'"a\t\'b"\r\nx y, z\t\n\n\tlast\xc3\xa9'
    rows = rows_of(UnquotedReader, data, "one", "two")
    assert rows == [['"a', "'b\""], ["x y, z", ""], ["", "lasté"]]


def test_a_carriage_return_inside_a_line_is_a_character() -> None:
    assert rows_of(UnquotedReader, b"a\rb\tc\r\n", "one", "two") == [["a\rb", "c"]]


def test_a_row_with_other_columns_than_the_table_is_refused_alone() -> None:
    data = b"1\t2\n3\n4\t5\t6\n7\t8\n"
    assert refusals_of(UnquotedReader, data, "to", "text") == [
        (2, "1 column, expected 2: to, text"),
        (3, "3 columns, expected 2: to, text"),
    ]


@pytest.mark.parametrize("blank", [b"", b"\r"])
@pytest.mark.parametrize("kind", [UnquotedReader, CsvReader])
def test_blank_lines_of_a_table_of_one_column_are_no_records(
    kind: type[RecordReader], blank: bytes
) -> None:
    rows, refused = read_all(kind, b"a\n" + blank + b"\nb\n", ["text"])
    assert [(line, row) for line, row, _raw in rows] == [(1, ["a"]), (3, ["b"])]
    assert not refused


@pytest.mark.parametrize("kind", [UnquotedReader, CsvReader])
def test_a_row_of_a_million_columns_is_refused(kind: type[RecordReader]) -> None:
    separator = b"\t" if kind is UnquotedReader else b","
    data = b"a" + separator + b"b\n" + separator * 1_000_000 + b"\n"
    assert refusals_of(kind, data, "one", "two") == [(2, f"more than {COLUMNS_MAX} columns")]


@pytest.mark.parametrize("kind", [UnquotedReader, CsvReader])
def test_a_row_that_is_not_utf8_is_refused_with_the_place_of_the_byte(
    kind: type[RecordReader],
) -> None:
    separator = b"\t" if kind is UnquotedReader else b","
    good = b"a" + separator + "é".encode() + b"\n"
    bad = b"ab" + separator + b"M\xfcnchen\n"
    rows, refused = read_all(kind, good + bad + good, ["one", "two"])
    assert [row for _line, row, _raw in rows] == [["a", "é"], ["a", "é"]]
    assert [(one.line_number, one.raw) for one in refused] == [(2, bad[:-1])]
    assert refused[0].reason == "byte 5 (0xfc) is not UTF-8; save the file as UTF-8"


# --- all of them ----------------------------------------------------------------------------

GOOD = {JsonLinesReader: b'{"a": 1}\n', UnquotedReader: b"a\tb\n", CsvReader: b'"a",b\n'}


@pytest.mark.parametrize("kind", GOOD)
def test_a_line_that_is_too_long_is_one_refusal_of_bounded_size(kind: type[RecordReader]) -> None:
    good = GOOD[kind]
    data = good + b"x" * 5_000_000 + b"\n" + good
    rows, refused = read_all(kind, data, ["one", "two"])
    assert [line for line, _row, _raw in rows] == [1, 3]
    assert [(one.line_number, one.is_whole) for one in refused] == [(2, False)]
    assert refused[0].reason == "the record has 5,000,000 bytes, at most 1,048,576 can be read"
    assert len(refused[0].raw) <= 1_000


@pytest.mark.parametrize("kind", GOOD)
@pytest.mark.parametrize("count", [1, 2, 7])
def test_no_batch_is_larger_than_asked_and_none_is_empty_before_the_end(
    kind: type[RecordReader], count: int
) -> None:
    data = (GOOD[kind] * 3 + b"\n" + b"bad\xff\n") * 5 + b"\n\n\n"
    rows, refused = read_all(kind, data, ["one", "two"], count=count)
    assert (len(rows), len(refused)) == (15, 5)


@pytest.mark.parametrize("kind", GOOD)
def test_a_batch_that_was_given_back_comes_again(kind: type[RecordReader]) -> None:
    reader = kind(LineSource(io.BytesIO(GOOD[kind] * 2)))
    first = reader.read(1)
    reader.hold(first)
    assert reader.read(10) is first
    assert reader.read(10).line_numbers == [2]
    assert reader.read(10).count == 0
