"""A file that is wrong in one place: what is told, what is refused, and what is sent all the same.

The other tables: `test_input_file.py` for files that are useless as a whole, the readers' tests for
single lines.
"""

import io
import tracemalloc
from typing import Any

import pytest

from actors.cli.chunks import read_chunks
from actors.cli.input_file import open_input
from actors.cli.mapping import FieldOptions, resolve_mapping
from actors.cli.record_batch import Refused
from pipeline.message import decode_body

N = "+447911123456"


def sent(data: bytes, *, stream: Any = None, **said: Any) -> tuple[list[str], list[Refused]]:
    """Return the contents that would be sent, and what is refused."""
    file = open_input("-", standard_input=stream or io.BytesIO(data))
    options = FieldOptions(**{"channel": "sms", **said})
    mapping = resolve_mapping(file.columns, options, has_rows=file.has_rows)
    contents: list[str] = []
    refused: list[Refused] = []
    for chunk in read_chunks(file, mapping):
        contents += [decode_body(body).content for body in chunk.bodies]
        refused += chunk.refused
    return contents, refused


@pytest.mark.parametrize(
    ("data", "contents", "line", "reason"),
    [
        pytest.param(
            f'{{"to":"{N}","text":"a"}}\n{{"to":"{N}","text":"b\\u0000"}}\n'.encode(),
            ["a"],
            2,
            "content: holds a NUL character; remove it",
            id="a NUL in JSON",
        ),
        pytest.param(
            f"to,text\n{N},a\n{N},b\0c\n{N},d\n".encode(),
            ["a", "d"],
            3,
            "content: holds a NUL character; remove it",
            id="a NUL in CSV",
        ),
        pytest.param(
            f"to\ttext\n{N}\ta\n{N}\tb\0c\n".encode(),
            ["a"],
            3,
            "content: holds a NUL character; remove it",
            id="a NUL in TSV",
        ),
        pytest.param(
            f"to,text\n{N},a\n{N},caf".encode() + b"\xe9\n",
            ["a"],
            3,
            "byte 18 (0xe9) is not UTF-8; save the file as UTF-8",
            id="another encoding",
        ),
        pytest.param(
            f"to,text\n{N},a\n{N}\n".encode(),
            ["a"],
            3,
            "1 column, expected 2: to, text",
            id="a column is missing",
        ),
        pytest.param(
            f"to,text\n{N},a\n{N},b,c\n".encode(),
            ["a"],
            3,
            "3 columns, expected 2: to, text",
            id="a column too many",
        ),
        pytest.param(
            f'{{"to":"{N}","text":"a"}}\n{{"to":"{N}"}}\n'.encode(),
            ["a"],
            2,
            "content: column 'text' is empty; give it a value, or a default: {text|default}",
            id="a key is missing",
        ),
        pytest.param(
            f'{{"to":"{N}","text":"a"}}\n{{"to":447911123456,"text":"b"}}\n'.encode(),
            ["a"],
            2,
            "recipient: 44791•••••56 has no country code; write it internationally, with + and the"
            " country code: +44 7700 900123",
            id="a number that is a number",
        ),
        pytest.param(
            f'{{"to":"{N}","text":"a"}}\n{{"to":"{N}","text":["b"]}}\n'.encode(),
            ["a"],
            2,
            "content: column 'text' holds a list or an object, not a text",
            id="a list is no text",
        ),
        pytest.param(
            f"to,text\n{N},a\n{N},{'x' * 65_537}\n{N},b\n".encode(),
            ["a", "b"],
            3,
            "content: has 65537 characters, at most 65536 bytes",
            id="a content that is too long",
        ),
        pytest.param(
            f"to,text\n{N},a\n{N}{',' * 300}\n".encode(),
            ["a"],
            3,
            "more than 256 columns",
            id="a row of hundreds of columns",
        ),
    ],
)
def test_what_is_wrong_with_one_record_refuses_that_record(
    data: bytes, contents: list[str], line: int, reason: str
) -> None:
    found, refused = sent(data)
    assert found == contents
    assert [(one.line_number, one.reason) for one in refused] == [(line, reason)]


@pytest.mark.parametrize(
    ("data", "contents"),
    [
        pytest.param(f"to,text\r\n{N},a\n{N},b\r\n{N},c".encode(), ["a", "b", "c"], id="CSV"),
        pytest.param(f"to\ttext\r\n{N}\ta\n{N}\tb\r\n{N}\tc".encode(), ["a", "b", "c"], id="TSV"),
        pytest.param(
            f'{{"to":"{N}","text":"a"}}\r\n{{"to":"{N}","text":"b"}}'.encode(),
            ["a", "b"],
            id="JSON lines",
        ),
        pytest.param(
            f'to,text\r\n{N},"a\r\nb"\n{N},"c\nd"\r\n'.encode(), ["a\r\nb", "c\nd"], id="quoted"
        ),
        pytest.param(f"\ufeffto,text\n{N},\ufeffa\n".encode(), ["\ufeffa"], id="a BOM"),
        pytest.param(f"to,text\n\n{N},a\n\r\n\n".encode(), ["a"], id="blank lines"),
    ],
)
def test_line_ends_may_be_mixed_and_the_last_may_be_missing(
    data: bytes, contents: list[str]
) -> None:
    assert sent(data) == (contents, [])


def test_a_template_that_fails_on_line_4000_refuses_that_line() -> None:
    lines = [f'{{"to":"{N}","name":"n{n}"}}' for n in range(1, 6_001)]
    lines[3_999] = f'{{"to":"{N}","name":null}}'
    contents, refused = sent("\n".join(lines).encode(), content="Dear {name}")
    assert len(contents) == 5_999
    assert contents[3_999] == "Dear n4001"
    assert [(one.line_number, one.reason[:32]) for one in refused] == [
        (4_000, "content: column 'name' is empty;")
    ]


class Repeating:
    """A stream of one line, again and again, which never exists as a whole."""

    def __init__(self, head: bytes, line: bytes, count: int) -> None:
        self._block = head
        self._line = line
        self._left = count

    def read1(self, size: int = -1, /) -> bytes:
        while self._left and len(self._block) < size:
            self._block += self._line
            self._left -= 1
        block, self._block = self._block[:size], self._block[size:]
        return block

    def close(self) -> None:
        return


@pytest.mark.parametrize(
    ("head", "line", "count", "refused_count"),
    [
        pytest.param(b"to,text\n", b"x" * 1_000_000, 1_000, 1, id="one line of a gigabyte"),
        pytest.param(b'to,text\n"', b"x" * 99_999 + b"\n", 1_000, 1, id="one open quote"),
        pytest.param(b"to,text\n", b"x" * 1_000_000 + b"\n", 100, 100, id="long lines"),
        pytest.param(b"to,text\n", b"x" * 2_000_000 + b"\n", 100, 100, id="too long lines"),
    ],
)
def test_memory_is_bounded_whatever_the_file(
    head: bytes, line: bytes, count: int, refused_count: int
) -> None:
    tracemalloc.start()
    contents, refused = sent(b"", stream=Repeating(head, line, count))
    _now, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert contents == []
    assert len(refused) == refused_count
    assert refused[0].line_number == 2
    # What a chunk keeps of refused records, and a few blocks.
    assert peak < 80_000_000
