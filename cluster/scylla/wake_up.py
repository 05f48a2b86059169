"""Answers of the driver's thread, brought to an event loop.

Waking a loop from another thread costs a system call and a lock.  So answers wait in a queue, and
the loop is woken once for all that come until it looks.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple, Protocol

from cluster.scylla.driver import Callback


class ResponseFuture(Protocol):
    """The driver's, as far as it is used here."""

    has_more_pages: bool

    def add_callbacks(self, callback: Callback, errback: Callback) -> None:
        """Call one of them, on the driver's thread or at once."""
        ...

    def start_fetching_next_page(self) -> None:
        """Ask for the next page; the same callbacks are called."""
        ...


class _Answer(NamedTuple):
    waiting: "asyncio.Future[list[Any]]"
    rows: list[Any]
    error: BaseException | None


class WakeUp:
    """Brings answers to the loop that made it."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._answers: deque[_Answer] = deque()
        self._is_woken = False

    def rows_of(self, response: ResponseFuture) -> "asyncio.Future[list[Any]]":
        """Return a future of all rows, whatever pages they come in, or of the driver's error."""
        waiting: asyncio.Future[list[Any]] = self._loop.create_future()
        rows: list[Any] = []

        # Both are called by the driver's thread, which swallows whatever they raise.
        def on_page(page: Sequence[Any] | None) -> None:
            if page:
                rows.extend(page)
            # A server may send short pages, and empty ones, with more to come.
            if response.has_more_pages:
                response.start_fetching_next_page()
            else:
                self._bring(_Answer(waiting, rows, None))

        def on_error(error: BaseException) -> None:
            self._bring(_Answer(waiting, [], error))

        response.add_callbacks(on_page, on_error)
        return waiting

    def _bring(self, answer: _Answer) -> None:
        self._answers.append(answer)
        if not self._is_woken:
            self._is_woken = True
            with suppress(RuntimeError):  # the loop is closed, and nobody waits any more
                self._loop.call_soon_threadsafe(self._hand_out)

    def _hand_out(self) -> None:
        # Before the queue is looked at: what comes while it is emptied wakes the loop again.
        self._is_woken = False
        while self._answers:
            waiting, rows, error = self._answers.popleft()
            if waiting.done():
                continue
            if error is None:
                waiting.set_result(rows)
            else:
                waiting.set_exception(error)
