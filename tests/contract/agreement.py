"""Every store and the plainest one do the same, whatever is asked of them and in whatever order.

Two processes take turns, and some of what they write is refused or loses its answer.  Hypothesis
shortens what they disagree on, and prints it.
"""

import itertools
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Literal, NamedTuple

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.errors import StoreUnavailable, WriteUnknown
from pipeline.lane_id import LaneId
from pipeline.lifecycle import Event, Step, step_of
from pipeline.message import PartitionKey
from pipeline.ports import BookCell
from tests.contract.store_under_test import (
    BORN,
    OWNER_A,
    OWNER_B,
    Rows,
    Store,
    StoreUnderTest,
    buffer_entry,
    journal_of,
    keys_of,
    make_body,
    message_row,
    read_all,
)
from tests.support.plain_store import PlainLane

SEGMENTS = (0, 1)
MESSAGES = 3
BOOKS = ("group:acme/spring", "day:acme/2023-11-14")
# So that every example has a lane of its own.
_examples = itertools.count()


class Ask(NamedTuple):
    """One verb with its arguments; by which process, and what becomes of the request."""

    verb: str
    process: int
    fault: Literal["", "refused", "no answer"]
    segment: int
    epoch: int
    number: int  # a seq, a message, an as_of: whatever the verb counts
    choice: bool  # of two owners, bodies, books


ASKS = st.lists(
    st.builds(
        Ask,
        verb=st.sampled_from(
            ["open", "take over", "close", "append", "hint", "rows", "project", "body", "book"]
        ),
        process=st.integers(0, 1),
        fault=st.sampled_from(["", "", "", "refused", "no answer"]),
        segment=st.sampled_from(SEGMENTS),
        epoch=st.integers(1, 3),
        number=st.integers(0, MESSAGES - 1),
        choice=st.booleans(),
    ),
    max_size=30,
)


class Pair:
    """A lane in the store under test, and the plainest one beside it."""

    def __init__(self, lane: LaneId, rows: Rows) -> None:
        self.lane = lane
        self.plain = PlainLane()
        self.rows = rows
        self.ids = rows.ids(MESSAGES)

    def both(self, ask: Ask, store: Store) -> tuple[Awaitable[object], Callable[[], object]]:
        """Return what the verb is in the one and in the other."""
        lane, plain, core = self.lane, self.plain, self.rows.core
        segment, epoch = ask.segment, ask.epoch
        owner = OWNER_A if ask.choice else OWNER_B
        message_id = self.ids[ask.number]
        match ask.verb:
            case "open":
                return (
                    store.open_segment(lane, segment, epoch=epoch, owner=owner),
                    lambda: plain.open_segment(segment, epoch=epoch, owner=owner),
                )
            case "take over":
                return (
                    store.take_over(lane, segment, expected_epoch=epoch, owner=owner),
                    lambda: plain.take_over(segment, expected_epoch=epoch, owner=owner),
                )
            case "close":
                return (
                    store.close_segment(lane, segment, epoch=epoch),
                    lambda: plain.close_segment(segment, epoch=epoch),
                )
            case "append":
                # A seq belongs to one segment.
                seq, body = segment * MESSAGES + ask.number, b"one" if ask.choice else b"other"
                return (
                    store.append(lane, segment, epoch=epoch, seq=seq, body=body),
                    lambda: plain.append(segment, epoch=epoch, seq=seq, body=body),
                )
            case "hint":
                return (
                    store.write_segment_hint(lane, ask.number),
                    lambda: plain.write_hint(ask.number),
                )
            case "rows":
                new = self.rows.ids(ask.number + 1)
                entries = [buffer_entry(id_) for id_ in new]
                return store.write_buffer(lane, entries), lambda: plain.write_rows(new)
            case "project":
                step = _step(ask)
                row = (message_id, PartitionKey(message_id), step, BORN, "file")
                return store.project(core, [row]), lambda: plain.project(message_id, step)
            case "body":
                content = make_body("one" if ask.choice else "other")
                return (
                    store.write_messages(core, [message_row(message_id, body=content)]),
                    lambda: plain.write_body(message_id, content),
                )
            case _:
                cell = BookCell(BOOKS[ask.choice], epoch, b"%d" % epoch)
                return store.write_books(lane, [cell]), lambda: plain.write_book(cell)

    async def compare(self, store: Store) -> None:
        """Fail unless both hold the same."""
        lane, plain, keys = self.lane, self.plain, keys_of(self.ids)
        for segment in SEGMENTS:
            assert await store.read_ownership(lane, segment) == plain.segments.get(segment)
            there = [(entry.seq, entry.body) for entry in await journal_of(store, lane, segment)]
            assert there == sorted(plain.journal.get(segment, {}).items(), reverse=True)
        assert await store.read_segment_hint(lane) == plain.hint
        for limit in (2, 1_000):
            found = await read_all(store, lane, limit=limit)
            assert sorted(row[1] for row in found) == sorted(plain.rows)
            assert [row[0] for row in found] == sorted(row[0] for row in found)
        assert await store.read_folds(self.rows.core, keys) == plain.steps
        assert await store.read_bodies(self.rows.core, keys) == plain.bodies
        cells = await store.read_books(lane, BOOKS)
        assert {cell.book: cell for cell in cells} == plain.books


def _step(ask: Ask) -> Step:
    event = Event.TAKE if ask.choice else Event.CLAIM
    return step_of(attempt=ask.epoch, try_no=1, event=event)


class AgreementContract:
    @settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(asks=ASKS)
    async def test_it_does_what_the_plainest_store_does(
        self,
        under_test: StoreUnderTest,
        store: Store,
        other_store: Store,
        rows: Rows,
        asks: list[Ask],
    ) -> None:
        lane = rows.lane(channel=f"sms-{next(_examples)}")
        await store.announce_lane(lane)
        pair, stores = Pair(lane, rows), (store, other_store)
        for ask in asks:
            if ask.verb == "open" and any(there > ask.segment for there in pair.plain.segments):
                # Nobody asks for that.  The embedded store sweeps old segments, and refuses it.
                continue
            asked = stores[ask.process]
            done, plainly = pair.both(ask, asked)
            faults: dict[str, AbstractContextManager[None]] = {
                "": nullcontext(),
                "refused": under_test.refusing_writes(asked),
                "no answer": under_test.losing_the_answer(asked),
            }
            with faults[ask.fault]:
                try:
                    answer = await done
                except StoreUnavailable:
                    continue
                except WriteUnknown:
                    plainly()
                    continue
            assert answer == plainly(), ask
        await pair.compare(stores[len(asks) % 2])
