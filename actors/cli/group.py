"""`shardpost group ID`: the books of one group, and whether they close."""

import asyncio
from collections import Counter
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from actors.cli.lane_reading import look_at_lanes
from actors.cli.not_found import NothingFound
from actors.cli.open_queries import OpenQueries, open_queries
from actors.cli.options import DataOption, JsonOption
from actors.cli.output import write_fields, write_json, write_line, write_table
from actors.cli.status import BOOKED_STATES
from cluster.runtime.clock import SystemClock
from pipeline.instant import Instant, earlier
from pipeline.lane.books import Counts, group_book
from pipeline.lane.entry import EntryUnreadable
from pipeline.lifecycle import RESOLVED_STATES
from pipeline.message import group_key
from pipeline.ports import QueryStore

_EVER = Instant(0)


class GroupReport(msgspec.Struct, frozen=True, kw_only=True):
    """The books of a group."""

    tenant: str
    group: str
    accepted: int  # named by a journal, over all states
    states: dict[str, int]
    lag: int  # in a buffer, not yet named
    open: int  # named, and without an end yet
    submitted: int  # in the buffers, whether named or not
    scheduled: int  # have a timer for their first attempt, whether it is over or not
    not_due: int  # of these, wait for their time: no journal names them so far
    closes: bool | None  # None: submitted long ago and in no buffer any more, or not yet due


async def read_group(queries: OpenQueries, *, tenant: str, group: str, now: Instant) -> GroupReport:
    """Return the books of a group; raises `NothingFound`."""
    key = group_key(tenant, group)
    store = queries.store
    submitted_before = await _count_submitted(store, key)
    scheduled = await _count_scheduled(store, key)
    not_due = await _count_not_due(store, key) if scheduled else 0
    accepted_before = await _count_accepted(store, key) if scheduled else 0
    view = await look_at_lanes(store, book_prefix=group_book(key), group=key)
    for lane in view.lanes:
        if lane.fault is not None:
            # The books of a group are whole or not told.
            raise EntryUnreadable(f"{lane.lane}: {lane.fault}")
    counts: Counts = view.books.get(group_book(key), Counter())
    accepted, lag = counts.total(), view.unnamed_count
    submitted = submitted_before
    if submitted != accepted + lag:
        # More may have come meanwhile.
        submitted = await _count_submitted(store, key)
    if not (accepted or lag or submitted or scheduled):
        raise no_such_group(tenant, group)
    accepted_after, not_due_after = accepted_before, not_due
    if scheduled:
        accepted_after = await _count_accepted(store, key)
        not_due_after = await _count_not_due(store, key)
    buffers_begin = earlier(now, queries.settings.windows.buffer_ttl_ms)
    return GroupReport(
        tenant=tenant,
        group=group,
        accepted=accepted,
        states={state.value: counts[state] for state in BOOKED_STATES},
        lag=lag,
        open=sum(n for state, n in counts.items() if state not in RESOLVED_STATES),
        submitted=submitted,
        scheduled=scheduled,
        not_due=not_due,
        closes=_closes(
            counts,
            told_count=accepted + lag + not_due,
            accepted_min=accepted_before if scheduled else submitted_before,
            accepted_max=accepted_after if scheduled else submitted,
            is_scheduled=scheduled > 0,
            is_still=not_due == not_due_after,
            may_have_aged=queries.generation.starts_at < buffers_begin,
        ),
    )


async def refuse_unknown_group(store: QueryStore, *, tenant: str, group: str) -> None:
    """Raise `NothingFound` for a group of which no message is stored; its books are not read."""
    after: bytes | None = None
    while True:
        page, after = await store.messages_in_group(group_key(tenant, group), limit=1, after=after)
        if page:
            return
        if after is None:
            raise no_such_group(tenant, group)


def no_such_group(tenant: str, group: str) -> NothingFound:
    """Return what is raised for a group that nobody knows."""
    return NothingFound(
        f"no message of the group {group!r} of the tenant {tenant!r} was accepted:"
        " look at the name, or give another --tenant"
    )


async def _count_submitted(store: QueryStore, key: str) -> int:
    count = 0
    for lane in await store.list_lanes():
        count += (await store.count_buffer(lane, from_at=_EVER)).get(key, 0)
    return count


async def _count_scheduled(store: QueryStore, key: str) -> int:
    count = 0
    for lane in await store.list_lanes():
        count += (await store.count_timers(lane, from_due=_EVER)).get(key, 0)
    return count


async def _count_not_due(store: QueryStore, key: str) -> int:
    count = 0
    for lane in await store.list_lanes():
        count += (await store.count_untold_timers(lane)).get(key, 0)
    return count


async def _count_accepted(store: QueryStore, key: str) -> int:
    count = 0
    for lane in await store.list_lanes():
        count += (await store.count_accepted(lane)).get(key, 0)
    return count


def _closes(
    counts: Counts,
    *,
    told_count: int,
    accepted_min: int,
    accepted_max: int,
    is_scheduled: bool,
    is_still: bool,
    may_have_aged: bool,
) -> bool | None:
    """Return whether the books, and those that wait, are exactly what buffers and timers hold.

    These were counted before and after the books were read; while a file is being sent the books
    may tell anything between.  While scheduled messages become due (not `is_still`) one may be
    told of as named and as waiting; so may, for a moment, one that is journaled without its event.
    """
    if any(n < 0 for n in counts.values()):
        return False
    if accepted_min <= told_count <= accepted_max:
        return True if is_still else None
    if told_count > accepted_max:
        return None if may_have_aged or is_scheduled else False
    return False if is_still else None


def show_group(report: GroupReport) -> None:
    """Write the report for a person."""
    match report.closes:
        case True:
            closes = "yes"
        case False:
            closes = f"NO: {report.submitted:,} were submitted; run `shardpost audit`"
        case None if report.scheduled:
            closes = "not provable by counting while messages become due: ask again"
        case None:
            closes = "not provable: its oldest rows are past their time"
    write_fields({"group": report.group, "tenant": report.tenant})
    write_line()
    rows: list[tuple[str, int]] = [(state, n) for state, n in report.states.items() if n]
    write_table(("state", "messages"), [*rows, ("accepted", report.accepted)])
    write_line()
    write_fields(
        {
            "lag": report.lag,
            "without an end": report.open,
            **({"wait for their time": report.not_due} if report.not_due else {}),
            "books close": closes,
        }
    )


async def _group(data: Path | None, *, tenant: str, group: str, as_json: bool) -> None:
    async with open_queries(data) as queries:
        report = await read_group(queries, tenant=tenant, group=group, now=SystemClock().now())
    if as_json:
        write_json(report)
    else:
        show_group(report)


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command("group")
    def _command(
        group: Annotated[str, typer.Argument(metavar="ID", help="The name of the group.")],
        tenant: Annotated[str, typer.Option(help="Whose group it is.")] = "default",
        data: DataOption = None,
        as_json: JsonOption = False,
    ) -> None:
        """Show the books of a group: how many messages are in which state, and do they close."""
        asyncio.run(_group(data, tenant=tenant, group=group, as_json=as_json))
