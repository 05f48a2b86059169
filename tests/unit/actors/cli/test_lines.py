import io
import random
import tracemalloc

import pytest

from actors.cli.lines import Lines, LineSource, Overlong
from pipeline.limits import LINE_BYTES_MAX
from tests.support.seed import seeded_random


class Drip:
    """A stream that gives a few bytes at a time, as a pipe may."""

    def __init__(self, data: bytes, chance: random.Random) -> None:
        self._data = io.BytesIO(data)
        self._chance = chance

    def read1(self, size: int = -1, /) -> bytes:
        return self._data.read(self._chance.randrange(1, size + 1))

    def close(self) -> None:
        return


class Endless:
    """A stream of one byte, `size` times, which never exists as a whole; then a tail."""

    def __init__(self, byte: bytes, size: int, tail: bytes = b"") -> None:
        self._byte = byte
        self._left = size
        self._tail = tail

    def read1(self, size: int = -1, /) -> bytes:
        if self._left:
            count = min(size, self._left)
            self._left -= count
            return self._byte * count
        tail, self._tail = self._tail, b""
        return tail

    def close(self) -> None:
        return


def read_all(source: LineSource, count: int = 1_000) -> list[bytes | Overlong]:
    found: list[bytes | Overlong] = []
    while True:
        taken = source.take(count)
        match taken:
            case Overlong():
                assert taken.number == len(found) + 1
                found.append(taken)
            case Lines(first_number, lines):
                if not lines:
                    return found
                assert first_number == len(found) + 1
                assert len(lines) <= count
                found.extend(lines)


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"", []),
        (b"a", [b"a"]),
        (b"a\n", [b"a"]),
        (b"a\nb", [b"a", b"b"]),
        (b"\n\na\n\n", [b"", b"", b"a", b""]),
        (b"a\r\nb\rc\n", [b"a\r", b"b\rc"]),
        (b"\xef\xbb\xbfa\n", [b"a"]),
        (b"\xef\xbb\xbf", []),
        (b"\xef\xbb", [b"\xef\xbb"]),
        (b"a\n\xef\xbb\xbfb", [b"a", b"\xef\xbb\xbfb"]),
    ],
)
def test_lines_end_with_line_feeds_and_a_mark_of_utf8_is_no_part_of_the_first(
    data: bytes, lines: list[bytes]
) -> None:
    source = LineSource(io.BytesIO(data))
    assert read_all(source) == lines
    assert source.bytes_read == len(data)
    assert source.take(1) == Lines(len(lines) + 1, [])


def test_lines_are_the_same_however_the_stream_is_cut() -> None:
    chance = seeded_random()
    for _ in range(500):
        data = bytes(chance.choices(b'ab"\n', k=chance.randrange(60)))
        if chance.random() < 0.3:
            data = b"\xef\xbb\xbf" + data
        line_bytes_max = chance.randrange(1, 12)
        source = LineSource(Drip(data, chance), line_bytes_max=line_bytes_max)
        found = []
        while True:
            if chance.random() < 0.3:
                source.peek()
            taken = source.take(chance.randrange(1, 4))
            if isinstance(taken, Overlong):
                found.append((taken.size, taken.quote_count))
            elif taken.lines:
                found.extend((len(line), line.count(b'"')) for line in taken.lines)
            else:
                break
        lines = data.removeprefix(b"\xef\xbb\xbf").split(b"\n")
        if not lines[-1]:
            lines.pop()
        assert found == [(len(line), line.count(b'"')) for line in lines], data
        assert source.bytes_read == len(data)


def test_only_a_line_beyond_the_limit_is_given_up() -> None:
    data = b"1" * 300 + b"\n" + b"2" * 301 + b'\n3\n"' + b"4" * 999 + b"\nend"
    assert read_all(LineSource(io.BytesIO(data), line_bytes_max=300)) == [
        b"1" * 300,
        Overlong(2, b"2" * 200, 301, 0),
        b"3",
        Overlong(4, b'"' + b"4" * 199, 1_000, 1),
        b"end",
    ]


def test_a_gigabyte_without_a_line_feed_costs_a_few_blocks_of_memory() -> None:
    size = 2**30
    source = LineSource(Endless(b"x", size, tail=b"\nnext\n"))
    tracemalloc.start()
    found = read_all(source)
    _now, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found == [Overlong(1, b"x" * 200, size, 0), b"next"]
    assert peak < 4 * LINE_BYTES_MAX


def test_peeking_shows_whole_lines_and_takes_none() -> None:
    source = LineSource(Drip(b"first line\nsecond", random.Random(1)))
    assert source.peek().startswith(b"first line\n")
    assert source.peek().startswith(b"first line\n")
    assert source.bytes_read == 0
    assert read_all(source) == [b"first line", b"second"]
    assert source.peek() == b""


@pytest.mark.parametrize("data", [b"a\nb", b"a\nb\n", b"a", b"a\n", b"\n", b""])
def test_peeking_tells_whether_the_last_line_ends(data: bytes) -> None:
    assert LineSource(io.BytesIO(data)).peek() == data


def test_peeking_at_a_line_that_is_too_long_shows_its_beginning() -> None:
    source = LineSource(io.BytesIO(b"x" * 500 + b"\nab\n"), line_bytes_max=100)
    assert source.peek() == b"x" * 200
    assert read_all(source) == [Overlong(1, b"x" * 200, 500, 0), b"ab"]


def test_a_stream_that_only_reads_in_full_will_do() -> None:
    class Plain:
        def __init__(self) -> None:
            self.data = io.BytesIO(b"a\nb")
            self.is_closed = False

        def read(self, size: int = -1, /) -> bytes:
            return self.data.read(size)

        def close(self) -> None:
            self.is_closed = True

    stream = Plain()
    source = LineSource(stream)
    assert read_all(source, count=1) == [b"a", b"b"]
    source.close()
    assert stream.is_closed
