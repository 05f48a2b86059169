"""Chunks of a pipe that has nothing more to say for the moment."""

import asyncio
import io
import os
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from actors.cli.chunks import Chunk
from actors.cli.input_file import InputFile, open_input
from actors.cli.mapping import FieldMapping, FieldOptions, resolve_mapping
from actors.cli.slow_input import chunks_of
from pipeline.errors import InputInvalid
from pipeline.limits import CHUNK_MESSAGES_MAX

ROW = b"+447911123456,hello\n"


def understood(path: str, stream: io.RawIOBase | None = None) -> tuple[InputFile, FieldMapping]:
    file = open_input(path, standard_input=stream)
    return file, resolve_mapping(file.columns, FieldOptions(channel="sms"), has_rows=file.has_rows)


class Pipe:
    """A pipe into which a test writes."""

    def __init__(self) -> None:
        reads, self._writes = os.pipe()
        self.stream = io.FileIO(reads)

    def write(self, data: bytes) -> None:
        os.write(self._writes, data)

    def end(self) -> None:
        if self._writes >= 0:
            os.close(self._writes)
            self._writes = -1


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "slow-input"]


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    pipe.write(b"to,text\n" + ROW)
    yield pipe
    # Whoever still reads meets the end.
    pipe.end()
    for thread in threads():
        thread.join()
    pipe.stream.close()


def opened(pipe: Pipe) -> tuple[InputFile, AsyncIterator[Chunk]]:
    file, mapping = understood("-", pipe.stream)
    return file, chunks_of(file, mapping)


async def test_what_is_there_comes_although_more_may_follow(pipe: Pipe) -> None:
    _file, chunks = opened(pipe)
    pipe.write(ROW * CHUNK_MESSAGES_MAX)
    first = await anext(chunks)
    assert len(first.bodies) == CHUNK_MESSAGES_MAX
    pipe.end()
    last = await anext(chunks)
    assert (last.first_index, len(last.bodies)) == (CHUNK_MESSAGES_MAX, 1)
    with pytest.raises(StopAsyncIteration):
        await anext(chunks)


async def test_others_go_on_while_it_waits_and_nobody_has_to_wait_for_it(pipe: Pipe) -> None:
    _file, chunks = opened(pipe)
    waiting = asyncio.ensure_future(anext(chunks))
    done, _ = await asyncio.wait({waiting}, timeout=0.05)
    assert not done
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, told: complaints.append(told))
    (thread,) = threads()
    assert thread.daemon
    pipe.end()
    thread.join()
    # Its answer comes to nobody, and that is no fault.
    await asyncio.sleep(0)
    assert complaints == []


async def test_what_cannot_be_read_is_told_as_by_a_file(pipe: Pipe) -> None:
    file, chunks = opened(pipe)

    def fail(_count: int) -> None:
        raise OSError(5, "Input/output error")

    file.reader.read = fail  # type: ignore[method-assign,assignment]
    with pytest.raises(InputInvalid, match="cannot be read beyond record 0: Input/output error"):
        await anext(chunks)


async def test_a_file_gives_the_same_chunks(tmp_path: Path) -> None:
    path = tmp_path / "regular.csv"
    path.write_bytes(b"to,text\n" + ROW * 2_500)
    file, mapping = understood(str(path))
    counts = [len(chunk.bodies) async for chunk in chunks_of(file, mapping)]
    file.close()
    assert counts == [1_000, 1_000, 500]


def test_a_pipe_with_a_name_is_no_regular_file(tmp_path: Path, pipe: Pipe) -> None:
    pipe.end()
    file = open_input(f"/dev/fd/{pipe.stream.fileno()}")
    assert not file.is_regular
    file.close()
    path = tmp_path / "regular.csv"
    path.write_bytes(b"to,text\n" + ROW)
    file = open_input(str(path))
    assert file.is_regular
    file.close()
