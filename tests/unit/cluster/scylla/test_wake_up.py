"""Answers that come from another thread: all arrive, in few wake-ups, whatever their pages."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest

from cluster.scylla.wake_up import WakeUp


class Response:
    """A driver's future whose answers the test gives."""

    def __init__(self, pages: Sequence[Sequence[Any] | None]) -> None:
        self._pages = list(pages)
        self.has_more_pages = True

    def add_callbacks(
        self, callback: Callable[[Any], None], errback: Callable[[BaseException], None]
    ) -> None:
        self.on_page, self.on_error = callback, errback

    def start_fetching_next_page(self) -> None:
        self.answer()

    def answer(self) -> None:
        page = self._pages.pop(0)
        self.has_more_pages = bool(self._pages)
        self.on_page(page)


def answer_all(responses: Sequence[Response]) -> None:
    for response in responses:
        response.answer()


def elsewhere(do: Callable[[], object]) -> None:
    thread = threading.Thread(target=do)
    thread.start()
    thread.join()


async def test_rows_come_from_all_pages_also_behind_an_empty_one() -> None:
    wake_up = WakeUp()
    response = Response([[1, 2], [], None, [3]])
    waiting = wake_up.rows_of(response)
    elsewhere(response.answer)
    assert await waiting == [1, 2, 3]


async def test_an_error_comes_to_whoever_waits_for_it_alone() -> None:
    wake_up = WakeUp()
    good, bad = Response([[1]]), Response([[2]])
    waiting = [wake_up.rows_of(good), wake_up.rows_of(bad)]
    elsewhere(lambda: bad.on_error(OSError("gone")))
    elsewhere(good.answer)
    assert await waiting[0] == [1]
    with pytest.raises(OSError, match="gone"):
        await waiting[1]


async def test_what_comes_at_once_wakes_the_loop_once(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    woken = []
    wake = loop.call_soon_threadsafe

    def count(*call: Any) -> Any:
        woken.append(call)
        return wake(*call)

    monkeypatch.setattr(loop, "call_soon_threadsafe", count)
    wake_up = WakeUp()
    for _ in range(2):
        responses = [Response([[n]]) for n in range(100)]
        waiting = [wake_up.rows_of(response) for response in responses]
        elsewhere(partial(answer_all, responses))
        async with asyncio.timeout(5):
            found = await asyncio.gather(*waiting)
        assert found == [[n] for n in range(100)]
    assert len(woken) == 2


async def test_whoever_waits_no_more_is_passed_over() -> None:
    wake_up = WakeUp()
    left, waits = Response([[1]]), Response([[2]])
    leaving, waiting = wake_up.rows_of(left), wake_up.rows_of(waits)
    leaving.cancel()
    elsewhere(left.answer)
    elsewhere(waits.answer)
    assert await waiting == [2]


def test_an_answer_to_a_loop_that_is_closed_is_dropped() -> None:
    response = Response([[1]])

    async def ask() -> None:
        WakeUp().rows_of(response)

    asyncio.run(ask())
    response.answer()
