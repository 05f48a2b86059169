"""Lines of a stream that may be larger than memory, and whose lines may be so, too.

The stream is read in blocks and cut at line feeds.  A line that outgrows the limit is not kept:
its beginning is, the rest is counted and thrown away until the next line feed, so that a file that
is one line of a gigabyte costs one block of memory and becomes one refusal.
"""

from collections.abc import Callable
from typing import Any, Final, NamedTuple, Protocol

from pipeline.limits import LINE_BYTES_MAX

_BLOCK_BYTES: Final = 256 * 1024
_HEAD_BYTES: Final = 200
_BOM: Final = b"\xef\xbb\xbf"


class BlockingStream(Protocol):
    """A stream whose `read` waits until it has all that was asked for."""

    def read(self, size: int = -1, /) -> bytes:
        """Return `size` bytes, fewer only at the end."""
        ...

    def close(self) -> None:
        """Close the stream; may be called twice."""
        ...


class PromptStream(Protocol):
    """A stream that gives what is there without waiting for more: a file, or standard input."""

    def read1(self, size: int = -1, /) -> bytes:
        """Return up to `size` bytes; none only at the end."""
        ...

    def close(self) -> None:
        """Close the stream; may be called twice."""
        ...


ByteStream = BlockingStream | PromptStream


class Lines(NamedTuple):
    """Lines in a row, without their line feeds; none at the end of the stream."""

    first_number: int  # of the first line, counted from 1
    lines: list[bytes]


class Overlong(NamedTuple):
    """A line that was too long to be kept."""

    number: int
    head: bytes
    size: int  # in bytes, without the line feed
    quote_count: int  # of the character ", which tells a reader of CSV whether one is left open


class LineSource:
    """Reads the lines of a stream, once, in order, in bounded memory."""

    def __init__(self, stream: ByteStream, *, line_bytes_max: int = LINE_BYTES_MAX) -> None:
        self._stream = stream
        prompt: Any = stream
        self._read_some: Callable[[int], bytes] = getattr(prompt, "read1", None) or prompt.read
        self._line_bytes_max = line_bytes_max
        # No larger than the limit, so that only the first line of a block, which may have begun
        # in blocks before, can be too long.
        self._block_bytes = min(_BLOCK_BYTES, line_bytes_max)
        self._overlong: Overlong | None = None  # comes before the ready lines
        self._ready: list[bytes] = []
        self._at = 0  # the next line of `_ready`
        self._tail = b""  # the line that is not complete yet
        self._number = 1  # of the next line
        self._has_begun = False
        self._is_at_end = False
        self._is_cut = False  # the ready line is the last, and has no line feed
        self._received = 0
        self.bytes_read = 0  # up to the end of the last line that was taken

    def peek(self) -> bytes:
        """Return the beginning of what was not taken: at least a line, if one fits the limit.

        Nothing is consumed.
        """
        self._fill()
        if self._overlong:
            return self._overlong.head
        lines = self._ready[self._at :]
        return b"\n".join(lines if self._is_cut else [*lines, self._tail])

    def take(self, count: int) -> Lines | Overlong:
        """Return the next lines, at most `count`, or the one line that is too long to be kept.

        No lines means the end of the stream.
        """
        self._fill()
        if overlong := self._overlong:
            self._overlong = None
            self._number += 1
            self._count_read(overlong.size + 1)
            return overlong
        lines = self._ready[self._at : self._at + count]
        taken = Lines(self._number, lines)
        self._at += len(lines)
        self._number += len(lines)
        self._count_read(sum(map(len, lines)) + len(lines))
        return taken

    def close(self) -> None:
        """Close the stream."""
        self._stream.close()

    def _count_read(self, size: int) -> None:
        # The last line may have no line feed.
        self.bytes_read = min(self.bytes_read + size, self._received)

    def _fill(self) -> None:
        """Read until there is something to take, or the stream is at its end."""
        while self._overlong is None and self._at == len(self._ready):
            if not self._is_at_end:
                self._cut(self._read())
            elif self._tail:
                self._ready, self._at, self._tail = [self._tail], 0, b""
                self._is_cut = True
            else:
                break

    def _cut(self, block: bytes) -> None:
        lines = (self._tail + block).split(b"\n")
        self._tail = lines.pop()
        if lines and len(lines[0]) > self._line_bytes_max:
            first = lines.pop(0)
            self._overlong = Overlong(
                self._number, first[:_HEAD_BYTES], len(first), first.count(b'"')
            )
        elif len(self._tail) > self._line_bytes_max:
            lines = self._skip_line()
        self._ready, self._at = lines, 0

    def _skip_line(self) -> list[bytes]:
        """Count and forget the line that the tail begins; return the lines of its last block."""
        head, size, quote_count = self._tail[:_HEAD_BYTES], 0, 0
        part, feed, rest = self._tail, b"", b""
        while True:
            size += len(part)
            quote_count += part.count(b'"')
            if feed or self._is_at_end:
                break
            part, feed, rest = self._read().partition(b"\n")
        self._overlong = Overlong(self._number, head, size, quote_count)
        lines = rest.split(b"\n")
        self._tail = lines.pop()
        return lines

    def _read(self) -> bytes:
        block = self._read_some(self._block_bytes)
        self._is_at_end = not block
        self._received += len(block)
        if not self._has_begun:
            block = self._without_bom(block)
        return block

    def _without_bom(self, block: bytes) -> bytes:
        self._has_begun = True
        while len(block) < len(_BOM) and not self._is_at_end and _BOM.startswith(block):
            block += self._read()
        if not block.startswith(_BOM):
            return block
        self.bytes_read = len(_BOM)
        return block[len(_BOM) :] or self._read()
