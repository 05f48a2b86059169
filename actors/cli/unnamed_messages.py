"""The messages that were accepted and that no journal names yet.

They have no events to be found by, so they are walked lane by lane.  Where a page ended
is (name of the lane, instant of the row).
"""

from typing import Final

from actors.cli.lane_reading import unnamed_rows
from pipeline.instant import Instant
from pipeline.message import MessageId
from pipeline.ports import MessageSummary, QueryStore

_AT_BYTES: Final = 8


async def unnamed_messages(
    store: QueryStore, *, limit: int, after: bytes | None
) -> tuple[list[MessageSummary], bytes | None]:
    """Return a page of them; one whose row was written twice may come twice."""
    generations = {generation.number: generation for generation in await store.read_generations()}
    first_name, from_at = ("", Instant(0)) if after is None else _parse(after)
    page: list[MessageSummary] = []
    seen: set[MessageId] = set()
    for lane in sorted(await store.list_lanes(), key=str):
        if str(lane) < first_name:
            continue
        rows = await unnamed_rows(
            store,
            lane,
            generation=generations[lane.generation],
            from_at=from_at if str(lane) == first_name else Instant(0),
            limit=limit + 1 - len(page),
        )
        for row in rows:
            if len(page) == limit:
                return page, _place(str(lane), row[0])
            if row[1] in seen:
                continue
            seen.add(row[1])
            trace = await store.trace(row[1])
            if trace is not None:
                page.append(MessageSummary(trace.id, trace.born, trace.body, None))
    return page, None


def _place(lane: str, at: Instant) -> bytes:
    return at.to_bytes(_AT_BYTES) + lane.encode()


def _parse(place: bytes) -> tuple[str, Instant]:
    return place[_AT_BYTES:].decode(errors="replace"), Instant(int.from_bytes(place[:_AT_BYTES]))
