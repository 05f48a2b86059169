import gzip
import io
import os
from pathlib import Path
from typing import Any

import pytest

from actors.cli.input_file import InputFile, InputFormat, open_input
from actors.cli.mapping import FieldOptions, resolve_mapping
from pipeline.errors import InputInvalid
from pipeline.limits import COLUMNS_MAX, LINE_BYTES_MAX


def opened(data: bytes, **said: Any) -> InputFile:
    """Return the input that comes through standard input."""
    return open_input("-", standard_input=io.BytesIO(data), **said)


def rows_of(file: InputFile) -> list[Any]:
    rows: list[Any] = []
    while (batch := file.reader.read(1_000)).count:
        rows += batch.rows
    return rows


def complaint(data: bytes, **said: Any) -> str:
    with pytest.raises(InputInvalid) as caught:
        opened(data, **said)
    message = str(caught.value)
    assert "\n" not in message
    return message


# --- which format ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "format_"),
    [
        (b'{"to": "x"}\n', InputFormat.JSONL),
        (b'\n  {"to": "a,b"}\n', InputFormat.JSONL),
        (b"to,text\na,b\n", InputFormat.CSV),
        (b"to\ttext, more\na\tb\n", InputFormat.TSV),
        (b"\tempty first\n", InputFormat.TSV),
    ],
)
def test_the_format_of_a_stream_is_told_by_its_first_line_and_said_aloud(
    data: bytes, format_: InputFormat
) -> None:
    file = opened(data)
    assert file.format is format_
    assert file.describe().startswith(f"standard input: {format_} (by its first line)")


@pytest.mark.parametrize(
    ("name", "format_"),
    [
        *(("a.jsonl", "jsonl"), ("a.ndjson", "jsonl"), ("a.JSON", "jsonl")),
        *(("a.csv", "csv"), ("a.TSV", "tsv"), ("a.tab", "tsv")),
    ],
)
def test_the_name_of_a_file_tells_its_format(tmp_path: Path, name: str, format_: str) -> None:
    path = tmp_path / name
    path.write_bytes(b'{"to":"x"}\n' if format_ == "jsonl" else b"to\nx\n")
    file = open_input(str(path))
    assert file.format == format_
    assert "(by its name)" in file.describe()
    file.close()


def test_what_a_person_says_of_the_format_comes_first(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"to\ttext\nx\ty\n")
    file = open_input(str(path), format_name="TSV")
    assert file.format is InputFormat.TSV
    assert "(by --format)" in file.describe()
    assert rows_of(file) == [["x", "y"]]
    file.close()


def test_a_format_that_is_not_known_or_not_told_is_asked_for() -> None:
    assert complaint(b"to,text\na,b\n", format_name="xlsx") == (
        "--format xlsx: not a format; one of jsonl, csv, tsv"
    )
    assert complaint(b"one word a line\n").endswith(
        "its first line does not tell the format; say --format jsonl"
    )


# --- what parts them ------------------------------------------------------------------------


def test_semicolons_part_the_columns_where_they_part_known_names() -> None:
    file = opened(b'phone;"text";name\n1;"a;b, c";\n', format_name="csv")
    assert file.columns == ("phone", "text", "name")
    assert rows_of(file) == [["1", "a;b, c", ""]]
    assert "delimiter ;" in file.describe()
    assert opened(b"phone;text\n1;2\n").columns == ("phone", "text"), "so do they tell the format"


def test_commas_come_first() -> None:
    assert opened(b"phone,text;note\n1,2;3\n").columns == ("phone", "text;note")
    file = opened(b"ham; and eggs\nspam; and more\n", format_name="csv")
    assert rows_of(file) == [["ham; and eggs"], ["spam; and more"]]


def test_where_semicolons_may_be_meant_it_is_said() -> None:
    file = opened(b"Telefon;Nachricht\n1;2\n", format_name="csv")
    with pytest.raises(InputInvalid, match=r"no column holds the recipient.*--delimiter ';'"):
        resolve_mapping(file.columns, FieldOptions(), has_rows=True, hint=file.hint)
    assert "--delimiter ';'" in complaint(b"1;2\n", format_name="csv", columns=["phone", "text"])
    assert not opened(b"phone,text;\n1,2\n").hint


def test_what_a_person_says_of_the_delimiter_comes_first() -> None:
    said = opened(b"Telefon;Nachricht\n1;2\n", delimiter=";", has_header=True)
    assert said.columns == ("Telefon", "Nachricht")
    said = opened(b"phone;text\n1;2\n", delimiter=",", format_name="csv")
    assert said.columns == ("c1",)
    assert rows_of(opened(b'phone|text\n1|"a\n|b"\n', delimiter="|")) == [["1", "a\n|b"]]


def test_a_delimiter_that_parts_nothing_is_refused() -> None:
    assert complaint(b"a:b\n", delimiter=":") == "--delimiter ':': not one of , ; |"
    assert "is for CSV" in complaint(b"a\tb\n", delimiter=";", format_name="tsv")


# --- which columns --------------------------------------------------------------------------


@pytest.mark.parametrize("has_header", [None, True])
def test_a_first_line_with_a_known_name_is_the_header(has_header: bool | None) -> None:
    file = opened(b"Phone , Text,\r\n1,2,3\n", has_header=has_header)
    assert file.columns == ("Phone", "Text", "c3")
    assert file.header == b"Phone , Text,\r"
    assert not file.are_columns_numbered
    assert rows_of(file) == [["1", "2", "3"]]


@pytest.mark.parametrize(
    "first",
    [
        b"ham,some words",
        b"email,bob@example.com",
        b"text,+44 7911 123456",
        b"text,07911 123456",
    ],
)
def test_a_first_line_without_one_or_with_a_recipient_is_a_record(first: bytes) -> None:
    file = opened(first + b"\nx,y\n")
    assert file.columns == ("c1", "c2")
    assert file.are_columns_numbered
    assert file.header is None
    assert "no header: its columns are called c1, c2" in file.describe()
    assert len(rows_of(file)) == 2


def test_a_person_can_say_whether_there_is_a_header() -> None:
    file = opened(b"ham,words\nx,y\n", has_header=True)
    assert (file.columns, rows_of(file)) == (("ham", "words"), [["x", "y"]])
    file = opened(b"to,text\nx,y\n", has_header=False)
    assert (file.columns, rows_of(file)) == (("c1", "c2"), [["to", "text"], ["x", "y"]])


@pytest.mark.parametrize(
    ("has_header", "first", "row_count", "header"),
    [
        (None, b"a,b", 2, None),
        (None, b"To,Text ", 1, b"To,Text "),
        (True, b"a,b", 1, b"a,b"),
        (False, b"to,text", 2, None),
    ],
)
def test_a_person_can_name_the_columns(
    has_header: bool | None, first: bytes, row_count: int, header: bytes | None
) -> None:
    file = opened(first + b"\nx,y\n", columns=["to", "text"], has_header=has_header)
    assert file.columns == ("to", "text")
    assert file.header == header
    assert len(rows_of(file)) == row_count


def test_the_columns_of_json_lines_are_the_keys_of_the_first_ones() -> None:
    file = opened(b'{"to":1,"text":2}\nbroken\n\n{"text":1,"late":2}\n')
    assert file.columns == ("to", "text", "late")
    assert not file.has_rows
    assert file.header is None


@pytest.mark.parametrize(
    ("data", "said", "message"),
    [
        (b"to,text,To\na,b,c\n", {}, "column 'to' occurs more than once"),
        (b"to,c1\n1,2\n", {"columns": ["a", "A"]}, "--columns: column 'a' occurs more than once"),
        (b"a,b\n", {"columns": ["a"]}, "--columns names 1 columns, but line 1 of standard input"),
        (
            b",".join([b"to"] * (COLUMNS_MAX + 1)) + b"\n",
            {},
            f"line 1: more than {COLUMNS_MAX} columns (the first line tells the columns)",
        ),
        (
            b"to,text\n",
            {"columns": ["x"] * (COLUMNS_MAX + 1)},
            f"--columns: 257 columns, at most {COLUMNS_MAX}",
        ),
        (b"to," + b"x" * 200 + b"\na,b\n", {}, "a column's name has 200 characters"),
        (b"to,text\n", {}, "holds the names of columns but no record"),
        (b"to,text\n\n\n", {}, "holds the names of columns but no record"),
        (b"t\xf6,text\na,b\n", {}, "line 1: byte 2 (0xf6) is not UTF-8"),
        (b'"to"x,text\na,b\n', {}, "line 1: a quote"),
        (b'{"to":1}\n', {"columns": ["a"]}, "leave out --columns and --header"),
        (b'{"to":1}\n', {"has_header": True}, "leave out --columns and --header"),
        (b'[{"to":1}]\n', {}, "is a JSON array; write one object on each line"),
        (b'{\n"to":1}\n', {}, "line 1: not a JSON object"),
        (b"{}\n", {}, "its first object is empty"),
        (b'{"to":"\xff"}\n', {}, "line 1: byte 8 (0xff) is not UTF-8"),
        (
            b'{"to":"' + b"x" * LINE_BYTES_MAX + b'"}\n',
            {},
            "line 1: the record has 1,048,585 bytes, at most 1,048,576 can be read",
        ),
        (
            b"to,text" + b"x" * LINE_BYTES_MAX + b"\n",
            {},
            "line 1: the record has 1,048,583 bytes",
        ),
    ],
    ids=range(18),
)
def test_columns_that_cannot_be_told_are_one_line_that_says_why(
    data: bytes, said: dict[str, Any], message: str
) -> None:
    assert message in complaint(data, **said)


def test_a_bad_first_record_does_not_hide_columns_that_were_named() -> None:
    file = opened(b'"a"b,c\nx,y\n', columns=["to", "text"])
    batch = file.reader.read(10)
    assert [one.line_number for one in batch.refused] == [1]
    assert rows_of(file) == [["x", "y"]]


# --- what cannot be read at all -------------------------------------------------------------

TEXT = "to,text\r\n+447911123456,hello\r\n"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty; there is nothing to send"),
        (b"\n \r\n\n", "is empty; there is nothing to send"),
        (b"\xef\xbb\xbf", "is empty; there is nothing to send"),
        (gzip.compress(b"to,text\n"), "is compressed; unpack it first"),
        (b"PK\x03\x04" + b"\x14\x00" * 20, "is a ZIP archive or a spreadsheet; save the sheet"),
        (b"\xd0\xcf\x11\xe0" + b"\x00" * 20, "is an old spreadsheet; save the sheet as CSV"),
        (b"%PDF-1.7\n%\xe2\xe3\n", "is a PDF"),
        (b"SQLite format 3\x00", "is a database"),
        (TEXT.encode("utf-16"), "is UTF-16; save it as UTF-8"),
        (TEXT.encode("utf-16-be"), "is UTF-16; save it as UTF-8"),
        (TEXT.encode("utf-16-le"), "is UTF-16; save it as UTF-8"),
        (bytes(range(256)) * 40, "is not text; send JSON lines, CSV or TSV"),
        (b"\x00" * 100_000, "is not text; send JSON lines, CSV or TSV"),
        (b"to,text\ra,b\rc,d\r", "its lines end with a carriage return alone; convert it"),
    ],
    ids=range(14),
)
def test_what_is_not_a_text_of_records_is_one_line_that_says_what_to_change(
    data: bytes, message: str
) -> None:
    assert message in complaint(data)


def test_a_text_with_a_few_odd_characters_is_a_text() -> None:
    assert opened(b"to,text\na,b\0\x01\nc,d\n").columns == ("to", "text")
    assert opened(b'{"to": "x\x00"}\n{"to": 1}\r').columns == ("to",)


def test_a_path_that_is_no_readable_file_is_one_line_that_says_what_to_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "contacts.csv").write_text("to,text\na,b\n")
    for path, message in (
        (tmp_path, "is a folder; name a file in it"),
        (tmp_path / "contact.csv", f"there is no such file; did you mean {tmp_path}/contacts.csv?"),
        (tmp_path / "no" / "where", "there is no such file"),
        (tmp_path / "contacts.csv" / "x", "cannot be opened: Not a directory"),
        (tmp_path / "a\0b", "cannot be the name of a file"),
        (tmp_path / ("x" * 5_000), "cannot be opened: File name too long"),
    ):
        with pytest.raises(InputInvalid) as caught:
            open_input(str(path))
        assert str(caught.value).endswith(message)

    def refuse(*_arguments: Any) -> None:
        raise PermissionError

    # A test may run as a user whom no permission stops.
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(InputInvalid, match=r"may not be read; chmod \+r makes it readable"):
        open_input(str(tmp_path / "contacts.csv"))


def test_standard_input_is_refused_where_there_is_none() -> None:
    with pytest.raises(InputInvalid, match="name a file"):
        open_input("-")


def test_the_size_of_a_file_is_known_and_that_of_a_stream_is_not(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"to,text\na,b\n")
    file = open_input(str(path))
    assert (file.size_bytes, file.path, file.name) == (12, path, str(path))
    file.close()
    file.close()
    assert (opened(b"to,text\na,b\n").size_bytes, opened(b"a,b\n").path) == (None, None)


def test_a_file_that_is_refused_is_closed_again(tmp_path: Path) -> None:
    path = tmp_path / "empty.csv"
    path.touch()
    open_files = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else None
    for _ in range(3):
        with pytest.raises(InputInvalid):
            open_input(str(path))
    if open_files is not None:
        assert len(os.listdir("/proc/self/fd")) == open_files


def test_a_disk_that_fails_is_one_line() -> None:
    class Failing:
        def read1(self, _size: int = -1, /) -> bytes:
            raise OSError(5, "Input/output error")

        def close(self) -> None:
            return

    with pytest.raises(InputInvalid, match="standard input: cannot be read: Input/output error"):
        open_input("-", standard_input=Failing())
