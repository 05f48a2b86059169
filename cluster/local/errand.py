"""What the event loop asks of a file's threads, and how the answers come back.

An errand is asked for on the loop and run on a thread.  Who asked waits for a bounded time, or is
cancelled; an errand that was not begun by then is dropped for certain, so that its caller can be
told a definite no.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import Any, Final, Generic, TypeVar

from pipeline.errors import ShardpostError, StoreUnavailable, WriteUnknown
from pipeline.limits import FILE_ANSWER_MS_MAX, WRITER_QUEUE_OPERATIONS_MAX

ArgumentT = TypeVar("ArgumentT")

_ANSWER_S_MAX: Final = FILE_ANSWER_MS_MAX / 1_000


class Errand(Generic[ArgumentT]):
    """One call of `operation` on a thread; made on the event loop that waits for it."""

    __slots__ = ("_is_begun", "_is_dropped", "_lock", "future", "loop", "operation", "row_count")

    def __init__(self, operation: Callable[[ArgumentT], Any], *, row_count: int = 1) -> None:
        self.operation = operation
        self.row_count = row_count
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Any] = self.loop.create_future()
        self._lock = Lock()
        self._is_begun = False
        self._is_dropped = False

    def begin(self) -> bool:
        """Return whether the errand is still wanted; if so it cannot be dropped any more."""
        with self._lock:
            self._is_begun = not self._is_dropped
            return self._is_begun

    def drop(self) -> bool:
        """Return whether the errand will certainly not be begun: it was not, and now never is."""
        with self._lock:
            self._is_dropped = not self._is_begun
            return self._is_dropped


class Stop(Errand[Any]):
    """The last errand of a thread."""

    def __init__(self) -> None:
        super().__init__(lambda _argument: None)


class Answer:
    """What became of an errand."""

    __slots__ = ("errand", "error", "value")

    def __init__(
        self, errand: Errand[Any], *, value: object = None, error: BaseException | None = None
    ) -> None:
        self.errand = errand
        self.value = value
        self.error = error


class FileThread(ABC, Generic[ArgumentT]):
    """A thread that runs errands on one file, in their order; it starts with the first.

    All errands come from one event loop.
    """

    # What it means that an errand was begun and gave no answer.
    _unfinished: type[ShardpostError] = WriteUnknown

    def __init__(self, path: Path, *, purpose: str) -> None:
        self._path = path
        self._purpose = purpose
        self._queue: SimpleQueue[Errand[ArgumentT]] = SimpleQueue()
        self._thread: Thread | None = None
        self._pending_count = 0
        self._is_closed = False

    async def ask(self, errand: Errand[ArgumentT]) -> Any:  # noqa: ANN401 -- the operation's type
        """Return or raise what the errand returned or raised.

        Raises `StoreUnavailable` if it was certainly not begun: the thread is closed, too much
        waits for it already, or its turn did not come in time.  Raises `_unfinished` if it was
        begun and did not end in time.
        """
        if self._is_closed:
            raise StoreUnavailable(f"{self._path}: the store is closed")
        if self._pending_count >= WRITER_QUEUE_OPERATIONS_MAX:
            raise StoreUnavailable(f"{self._path}: {self._pending_count} operations wait already")
        return await self._wait(errand)

    async def close(self) -> None:
        """Run what waits, then end.  May come twice."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._thread is not None:
            # A thread that hangs is left behind; it does not keep the process alive.
            with suppress(ShardpostError):
                await self._wait(Stop())

    async def _wait(self, errand: Errand[Any]) -> Any:  # noqa: ANN401
        if self._thread is None:
            self._thread = Thread(
                target=self._serve, name=f"{self._path.stem}-{self._purpose}", daemon=True
            )
            self._thread.start()
        self._pending_count += 1
        self._queue.put(errand)
        try:
            async with asyncio.timeout(_ANSWER_S_MAX):
                return await errand.future
        except TimeoutError as error:
            waited = f"{self._path}: no answer after {FILE_ANSWER_MS_MAX} ms"
            if errand.drop():
                reason = f"{waited}: too much waits, or a process that holds the file is paused"
                raise StoreUnavailable(reason) from error
            raise self._unfinished(f"{waited}: the disk is slow, or gone") from error
        except asyncio.CancelledError:
            errand.drop()
            raise

    def _serve(self) -> None:
        is_last = False
        while not is_last:
            group = [self._queue.get()]
            while not isinstance(group[-1], Stop) and self._has_room(group):
                try:
                    group.append(self._queue.get_nowait())
                except Empty:
                    break
            is_last = isinstance(group[-1], Stop)
            try:
                answers = self._run(group[:-1] if is_last else group)
            except BaseException as error:
                answers = [Answer(errand, error=error) for errand in group]
            if is_last:
                self._end()
                answers.append(Answer(group[-1]))
            self._deliver(answers)

    def _deliver(self, answers: Sequence[Answer]) -> None:
        """Give answers to those who wait: one wake-up of the event loop for all of them."""

        def give() -> None:
            self._pending_count -= len(answers)
            for answer in answers:
                future = answer.errand.future
                if future.done():
                    continue  # its caller went away
                if answer.error is None:
                    future.set_result(answer.value)
                else:
                    future.set_exception(answer.error)

        # A loop that is closed has nobody who waits.
        with suppress(RuntimeError):
            answers[0].errand.loop.call_soon_threadsafe(give)

    @abstractmethod
    def _has_room(self, group: Sequence[Errand[ArgumentT]]) -> bool:
        """Return whether the next errand may join the group."""

    @abstractmethod
    def _run(self, group: Sequence[Errand[ArgumentT]]) -> list[Answer]:
        """Run errands and return an answer for each, in any order."""

    @abstractmethod
    def _end(self) -> None:
        """Let go of everything; the thread ends."""
