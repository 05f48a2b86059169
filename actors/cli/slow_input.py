"""Chunks of an input whose next line may be long in coming: standard input, a pipe, a device.

Reading waits there.  If the event loop waited with it, what was read before would not be sent
meanwhile, and Ctrl-C would not be heard.  So the reading is done by a thread.  It is a daemon, as
nothing ends the wait of a thread but the input; that is why what it reads must not have a lock of
Python's own around it, which the interpreter would want at its end.

A file is read by the event loop itself: it never waits long, and threads would only take turns.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from queue import SimpleQueue

from actors.cli.chunks import Chunk, read_chunks
from actors.cli.input_file import InputFile
from actors.cli.mapping import FieldMapping

_Answer = asyncio.Future[Chunk | None]


async def chunks_of(
    file: InputFile, mapping: FieldMapping, *, is_known_by_content: bool = False
) -> AsyncIterator[Chunk]:
    """Yield what `read_chunks` yields, and raise what it raises.

    `is_known_by_content`: its digest is its key, so that no chunk may be of another content.
    """
    chunks = read_chunks(file, mapping)
    if file.is_regular:
        for chunk in chunks:
            if is_known_by_content:
                file.refuse_change()
            yield chunk
        return
    loop = asyncio.get_running_loop()
    asked: SimpleQueue[_Answer | None] = SimpleQueue()
    threading.Thread(target=_read, args=(chunks, asked), name="slow-input", daemon=True).start()
    try:
        while True:
            answer: _Answer = loop.create_future()
            asked.put(answer)
            if (next_chunk := await answer) is None:
                return
            yield next_chunk
    finally:
        asked.put(None)


def _read(chunks: Iterator[Chunk], asked: "SimpleQueue[_Answer | None]") -> None:
    while (answer := asked.get()) is not None:
        chunk: Chunk | None = None
        failure: Exception | None = None
        try:
            chunk = next(chunks, None)
        except Exception as error:
            failure = error
        # The loop may be over: nobody waits for the answer then.
        with suppress(RuntimeError):
            answer.get_loop().call_soon_threadsafe(_tell, answer, chunk, failure)


def _tell(answer: _Answer, chunk: Chunk | None, failure: Exception | None) -> None:
    if answer.done():
        return
    if failure is None:
        answer.set_result(chunk)
    else:
        answer.set_exception(failure)
