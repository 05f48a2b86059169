import csv
import io
from collections.abc import Sequence

import pytest

from actors.cli.csv_reader import CsvReader
from actors.cli.lines import LineSource
from actors.cli.record_batch import Refused
from pipeline.limits import LINE_BYTES_MAX
from tests.support.seed import seeded_random


def read_all(
    data: bytes,
    columns: Sequence[str] | None = ("one", "two"),
    *,
    count: int = 1_000,
    line_bytes_max: int = LINE_BYTES_MAX,
) -> tuple[list[tuple[int, list[str]]], list[Refused]]:
    reader = CsvReader(LineSource(io.BytesIO(data), line_bytes_max=line_bytes_max))
    reader.columns = columns
    rows: list[tuple[int, list[str]]] = []
    refused: list[Refused] = []
    while (batch := reader.read(count)).count:
        assert batch.count <= count
        for line, row in zip(batch.line_numbers, batch.rows, strict=True):
            assert isinstance(row, list)
            rows.append((line, row))
        refused += batch.refused
    return rows, refused


@pytest.mark.parametrize("count", [1, 2, 1_000])
def test_quoted_fields_hold_commas_quotes_and_line_feeds(count: int) -> None:
    data = b'a,"b,c"\r\n"d\ne","f ""g"""\n\n"h\r\n\r\ni",j'
    rows, refused = read_all(data, count=count)
    assert rows == [
        (1, ["a", "b,c"]),
        (2, ["d\ne", 'f "g"']),
        (5, ["h\r\n\r\ni", "j"]),
    ]
    assert not refused


def test_a_quote_inside_an_unquoted_field_is_a_character() -> None:
    assert read_all(b'5" pipe,b\nc,d\n') == ([(1, ['5" pipe', "b"]), (2, ["c", "d"])], [])


def test_a_stray_quote_refuses_its_own_line_only() -> None:
    rows, refused = read_all(b'a,b\n"c"d,e\nf,g\n')
    assert rows == [(1, ["a", "b"]), (3, ["f", "g"])]
    assert [(one.line_number, one.raw) for one in refused] == [(2, b'"c"d,e')]
    assert refused[0].reason == 'a quote (") inside a quoted field must be doubled'


def test_the_lines_that_a_stray_quote_swallows_are_refused_with_it_and_never_sent() -> None:
    rows, refused = read_all(b'a,b\nc,"d\ne,f\ng,"h"\ni,j\n')
    assert rows == [(1, ["a", "b"]), (5, ["i", "j"])]
    assert [(one.line_number, one.raw) for one in refused] == [(2, b'c,"d\ne,f\ng,"h"')]


@pytest.mark.parametrize("count", [1, 3, 1_000])
def test_a_quote_that_is_never_closed_refuses_all_that_follows_as_one_record(count: int) -> None:
    rows, refused = read_all(b'a,b\nc,"d\n' + b"e,f\n" * 50, count=count)
    assert rows == [(1, ["a", "b"])]
    assert [(one.line_number, one.is_whole) for one in refused] == [(2, True)]
    assert refused[0].raw == b'c,"d\n' + b"\n".join([b"e,f"] * 50)
    assert "not closed until the end of the file" in refused[0].reason


@pytest.mark.parametrize("text", [b"text, more\n", b'said ""so""\n', b"\n"])
def test_a_quoted_field_larger_than_a_record_is_one_refusal_and_reading_goes_on_after_it(
    text: bytes,
) -> None:
    lines = LINE_BYTES_MAX // len(text) + 100
    data = b'a,b\nc,"' + text * lines + b'"\nd,e\n'
    rows, refused = read_all(data)
    assert rows == [(1, ["a", "b"]), (lines + 3, ["d", "e"])]
    assert [(one.line_number, one.is_whole) for one in refused] == [(2, False)]
    assert "at most 1,048,576 can be read" in refused[0].reason
    assert len(refused[0].raw) < 10_000


def test_a_quoted_field_with_a_line_that_is_too_long_ends_at_its_quote() -> None:
    long = b"x" * 500
    rows, refused = read_all(
        b'"a\n' + long + b'\nb,c\n",d\ne,f\n"g\n' + long + b'",h\ni,j\n', line_bytes_max=100
    )
    assert rows == [(5, ["e", "f"]), (8, ["i", "j"])]
    assert [(one.line_number, one.is_whole) for one in refused] == [(1, False), (6, False)]


def test_a_field_longer_than_the_csv_module_reads_by_itself_is_read() -> None:
    field = "x" * 500_000
    assert read_all(f'"{field}",b\nc,d\n'.encode())[0] == [(1, [field, "b"]), (2, ["c", "d"])]


def test_a_carriage_return_alone_refuses_its_line() -> None:
    rows, refused = read_all(b"a\rb,c\nd,e\n")
    assert rows == [(2, ["d", "e"])]
    assert [one.reason for one in refused] == [
        "a carriage return inside a field; put the field in quotes"
    ]


def test_what_is_not_utf8_is_refused_within_records_of_several_lines() -> None:
    rows, refused = read_all(b'"a\nb",c\n"d\n\xff",e\n"f\ng",h\n')
    assert [line for line, _row in rows] == [1, 5]
    assert [(one.line_number, one.reason[:13]) for one in refused] == [(3, "byte 4 (0xff)")]


def test_well_formed_csv_is_read_as_the_standard_library_reads_it_however_it_is_cut() -> None:
    chance = seeded_random()
    for _ in range(300):
        rows = [
            ["".join(chance.choices('ab,"\n\r é', k=chance.randrange(8))) for _ in range(2)]
            for _ in range(chance.randrange(1, 12))
        ]
        buffer = io.StringIO(newline="")
        terminator = chance.choice(("\n", "\r\n"))
        csv.writer(buffer, lineterminator=terminator, quoting=csv.QUOTE_ALL).writerows(rows)
        found, refused = read_all(buffer.getvalue().encode(), count=chance.randrange(1, 9))
        assert [row for _line, row in found] == rows
        assert not refused


def test_no_line_is_lost_whatever_the_input() -> None:
    chance = seeded_random()
    for _ in range(500):
        data = bytes(chance.choices(b'ab,,""\n\n\r\xff', k=chance.randrange(60)))
        reader = CsvReader(LineSource(io.BytesIO(data)))
        reader.columns = ("one", "two")
        seen: dict[int, bytes] = {}
        count = chance.randrange(1, 6)
        while (batch := reader.read(count)).count:
            assert batch.count <= count
            seen |= dict(zip(batch.line_numbers, batch.raws, strict=True))
            seen |= {one.line_number: one.raw for one in batch.refused}
        lines = data.split(b"\n")
        at = 1
        while at <= len(lines):
            if at in seen:
                covered = seen[at].split(b"\n")
                assert covered == lines[at - 1 : at - 1 + len(covered)], data
                at += len(covered)
            else:
                assert lines[at - 1].strip(b"\r") == b"", data
                at += 1
