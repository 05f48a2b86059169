import hashlib
import io
from pathlib import Path
from typing import Any

import pytest

from actors.cli import chunks as chunks_module
from actors.cli.chunks import Chunk, batch_key_of, read_chunks
from actors.cli.input_file import open_input
from actors.cli.mapping import FieldOptions, resolve_mapping
from pipeline.errors import InputInvalid
from pipeline.limits import CHUNK_MESSAGES_MAX, IDEMPOTENCY_KEY_BYTES_MAX
from pipeline.message import decode_body


def chunks_of(data: bytes, *, stream: Any = None, **said: Any) -> list[Chunk]:
    file = open_input("-", standard_input=stream or io.BytesIO(data))
    mapping = resolve_mapping(file.columns, FieldOptions(**said), has_rows=file.has_rows)
    chunks = list(read_chunks(file, mapping))
    for chunk in chunks:
        assert len(chunk.positions) == len(chunk.bodies)
        assert len(chunk.positions) == len(chunk.line_numbers) == len(chunk.raws)
        assert chunk.keys is None or len(chunk.keys) == len(chunk.bodies)
        assert list(chunk.positions) == sorted(set(chunk.positions))
    return chunks


def contents_of(chunk: Chunk) -> list[str]:
    return [decode_body(body).content for body in chunk.bodies]


def table(rows: list[str]) -> bytes:
    return "\n".join(["phone,text", *rows, ""]).encode()


def good_rows(count: int) -> list[str]:
    return [f"+447911{n:06},text {n}" for n in range(123_000, 123_000 + count)]


def test_a_chunk_has_a_thousand_records_and_the_last_one_the_rest() -> None:
    data = table(good_rows(2_500))
    chunks = chunks_of(data)
    assert [chunk.first_index for chunk in chunks] == [0, 1_000, 2_000]
    assert [len(chunk.bodies) for chunk in chunks] == [1_000, 1_000, 500]
    assert [list(chunk.positions) for chunk in chunks] == [
        list(range(1_000)),
        list(range(1_000)),
        list(range(500)),
    ]
    assert contents_of(chunks[1])[0] == "text 124000"
    assert chunks[-1].bytes_read == len(data)
    assert 0 < chunks[0].bytes_read < chunks[1].bytes_read < len(data)
    assert all(chunk.keys is None and not chunk.refused for chunk in chunks)


def test_what_is_refused_moves_no_other_record() -> None:
    rows = good_rows(2_001)
    whole = chunks_of(table(rows))
    rows[0] = "nobody,text"
    rows[999] = "too,many,columns"
    rows[1_000] = "+447911123456,"
    rows[2_000] = '"open'
    holed = chunks_of(table(rows))
    assert [chunk.first_index for chunk in holed] == [0, 1_000, 2_000]
    assert list(holed[0].positions) == list(range(1, 999))
    assert holed[0].bodies == whole[0].bodies[1:999]
    assert list(holed[1].positions) == list(range(1, 1_000))
    assert holed[1].bodies == whole[1].bodies[1:]
    assert holed[2].bodies == []
    # Line 1 names the columns.
    assert [[one.line_number for one in chunk.refused] for chunk in holed] == [
        [2, 1_001],
        [1_002],
        [2_002],
    ]
    assert holed[1].refused[0].raw == b"+447911123456,"
    assert holed[1].refused[0].reason.startswith("content: column 'text' is empty")


def test_a_chunk_of_refusals_alone_is_a_chunk() -> None:
    chunks = chunks_of(table(["nobody,x"] * 1_500))
    assert [(chunk.first_index, len(chunk.refused)) for chunk in chunks] == [
        (0, 1_000),
        (1_000, 500),
    ]
    assert all(chunk.bodies == [] and list(chunk.positions) == [] for chunk in chunks)


class Drip:
    def __init__(self, data: bytes, size: int) -> None:
        self._data = io.BytesIO(data)
        self._size = size

    def read1(self, _size: int = -1, /) -> bytes:
        return self._data.read(self._size)

    def close(self) -> None:
        return


@pytest.mark.parametrize("size", [7, 1_000, 33_333])
def test_chunks_are_the_same_however_the_bytes_arrive(size: int) -> None:
    rows = good_rows(2_100)
    rows[3] = "bad"
    rows[1_001] = '+447911123456,"two\nlines"'
    rows[1_500] = ""
    data = table(rows)
    assert chunks_of(b"", stream=Drip(data, size)) == chunks_of(data)


def test_the_number_of_a_record_counts_the_refused_ones_too() -> None:
    rows = good_rows(1_002)
    rows[1] = "nobody,x"
    rows[3] = "one column"
    chunks = chunks_of(table(rows), content="{#}")
    assert contents_of(chunks[0])[:4] == ["1", "3", "5", "6"]
    assert list(chunks[0].positions)[:4] == [0, 2, 4, 5]
    assert contents_of(chunks[1]) == ["1001", "1002"]


def test_positions_count_what_could_not_be_read_from_the_first_line_on() -> None:
    good = b'{"phone": "+447911123456", "text": "x"}'
    (chunk,) = chunks_of(b"\n".join([good, b"[]", good, good]), content="{#}")
    assert list(chunk.positions) == [0, 2, 3]
    assert contents_of(chunk) == ["1", "3", "4"]
    assert [one.line_number for one in chunk.refused] == [2]


def test_a_template_that_fails_on_one_line_refuses_that_line() -> None:
    rows = [f"+447911123456,text,name {n}" for n in range(5_000)]
    rows[3_998] = "+447911123456,text,"
    data = "\n".join(["phone,text,name", *rows]).encode()
    chunks = chunks_of(data, content="Dear {name}: {text}")
    refused = [one for chunk in chunks for one in chunk.refused]
    assert [(one.line_number, one.raw) for one in refused] == [(4_000, b"+447911123456,text,")]
    assert "column 'name' is empty" in refused[0].reason
    assert sum(len(chunk.bodies) for chunk in chunks) == 4_999


def test_each_record_can_have_a_key_of_its_own() -> None:
    rows = [f"+447911123456,text,order {n}" for n in range(1_002)]
    rows[1] = "+447911123456,text,"
    rows[2] = "nobody,text,order 2"
    rows[3] = "+447911123456,text," + "k" * (IDEMPOTENCY_KEY_BYTES_MAX + 1)
    rows[4] = "+447911123456,text," + "é" * (IDEMPOTENCY_KEY_BYTES_MAX // 2)
    data = "\n".join(["phone,text,order", *rows]).encode()
    first, second = chunks_of(data, key="order")
    assert first.keys is not None
    assert list(first.positions)[:3] == [0, 4, 5]
    assert first.keys[:3] == [b"order 0", "é".encode() * 128, b"order 5"]
    assert second.keys == [b"order 1000", b"order 1001"]
    assert [(one.line_number, one.reason[:20]) for one in first.refused] == [
        (3, "key: column 'order' "),
        (4, "recipient: ••••• is "),
        (5, "key: has 257 bytes, "),
    ]


def test_a_record_can_be_refused_after_it_was_read() -> None:
    rows = good_rows(10)
    rows[2] = "bad"
    rows[4] = '+447911123456,"two\nlines"'
    chunk = chunks_of(table(rows))[0]
    refused = chunk.refuse(3, "key: was used before")
    assert (refused.line_number, refused.reason) == (6, "key: was used before")
    assert (refused.raw, refused.is_whole) == (b'+447911123456,"two\nlines"', True)
    assert chunk.refuse(4, "x").line_number == 8


def test_what_a_chunk_keeps_of_its_records_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks_module, "CHUNK_RAW_BYTES_MAX", 1_000)
    long = "x" * 400
    rows = [f"nobody,{long}", f"nobody,{long}", f"nobody,{long}", "bad", *good_rows(1)]
    chunk = chunks_of(table(rows))[0]
    assert [(one.is_whole, len(one.raw)) for one in chunk.refused] == [
        (True, 407),
        (True, 407),
        (False, 200),
        (True, 3),
    ]
    chunk = chunks_of(table([f"+447911123456,{long}"] * 3))[0]
    assert len(chunk.bodies) == 3
    refused = chunk.refuse(2, "later")
    assert (refused.line_number, refused.raw, refused.is_whole) == (4, b"", False)


def test_a_disk_that_fails_in_the_middle_leaves_what_was_read_right() -> None:
    class Failing(Drip):
        def read1(self, size: int = -1, /) -> bytes:
            block = super().read1(size)
            if not block:
                raise OSError(5, "Input/output error")
            return block

    data = table(good_rows(1_500))
    file = open_input("-", standard_input=Failing(data, 100_000))
    mapping = resolve_mapping(file.columns, FieldOptions(), has_rows=True)
    chunks = read_chunks(file, mapping)
    assert len(next(chunks).bodies) == 1_000
    with pytest.raises(InputInvalid, match=r"beyond record 1500: Input/output error"):
        next(chunks)


def test_a_batch_has_no_more_records_than_its_ids_can_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(chunks_module, "BATCH_MESSAGES_MAX", CHUNK_MESSAGES_MAX)
    assert len(chunks_of(table(good_rows(1_000)))) == 1
    with pytest.raises(InputInvalid, match="more than 1,000 records"):
        chunks_of(table(good_rows(1_001)))


def test_the_key_of_a_batch_is_the_digest_of_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    data = b"to,text\n" * 100_000
    path.write_bytes(data)
    assert batch_key_of(path) == hashlib.blake2b(data, digest_size=16).digest()
    with pytest.raises(InputInvalid, match="cannot be read"):
        batch_key_of(tmp_path / "none")


def test_an_unquoted_table_without_header_and_recipients_is_read_whole_in_a_demonstration() -> None:
    lines = [
        'ham\tHe said "see you',
        "spam\tWIN, £1,000 now!",
        'ham\t"quoted" and ""more',
        "ham\tit's {ok}",
    ]
    file = open_input("-", standard_input=io.BytesIO("\n".join(lines).encode()))
    mapping = resolve_mapping(
        file.columns,
        FieldOptions(),
        has_rows=file.has_rows,
        made_up_recipients=True,
        are_columns_numbered=file.are_columns_numbered,
    )
    (chunk,) = read_chunks(file, mapping)
    assert contents_of(chunk) == [line.partition("\t")[2] for line in lines]
    assert not chunk.refused
