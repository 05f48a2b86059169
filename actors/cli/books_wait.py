"""Waiting until the books of a group close: everything accepted is named, and nothing is open."""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pipeline.lane.books import decode_counts, group_book
from pipeline.lifecycle import RESOLVED_STATES, MessageState
from pipeline.ports import QueryStore

_LOOK_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class GroupBooks:
    """A group's counts over all lanes, as they were written last."""

    counts: Counter[MessageState]

    @property
    def named_count(self) -> int:
        """How many messages a journal has named."""
        return self.counts.total()

    @property
    def open_count(self) -> int:
        """How many of them have no end yet."""
        return sum(n for state, n in self.counts.items() if state not in RESOLVED_STATES)


async def read_group(store: QueryStore, group: str) -> GroupBooks:
    """Return the books of a group key."""
    book = group_book(group)
    counts: Counter[MessageState] = Counter()
    for _, cell in await store.books(book):
        if cell.book == book:
            counts.update(decode_counts(cell.counts))
    return GroupBooks(counts)


async def wait_until_closed(
    store: QueryStore,
    group: str,
    *,
    accepted_count: Callable[[], int | None],
    on_look: Callable[[GroupBooks], None],
) -> GroupBooks:
    """Return the books once all that was accepted (None: not known yet) has its end."""
    while True:
        books = await read_group(store, group)
        on_look(books)
        expected = accepted_count()
        if expected is not None and books.named_count >= expected and not books.open_count:
            return books
        await asyncio.sleep(_LOOK_S)
