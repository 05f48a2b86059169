"""`shardpost trace ID`: everything that happened to one message."""

import asyncio
from collections.abc import Sequence
from operator import attrgetter
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from actors.cli.inspection import Inspection
from actors.cli.lane_reading import journaled_events
from actors.cli.message_ids import find_id, parse_digits, unknown_id
from actors.cli.open_queries import open_queries
from actors.cli.options import DataOption, JsonOption
from actors.cli.output import (
    Cell,
    shown_instant,
    shown_span,
    write_fields,
    write_json,
    write_line,
    write_table,
)
from pipeline.ingest.recipient_mask import mask_recipient
from pipeline.instant import Instant
from pipeline.later import ReceiptRow
from pipeline.lifecycle import (
    EVENT_MASK,
    STATE_AFTER,
    Event,
    Step,
    attempt_awaited,
    attempt_of,
    state_of,
    try_of,
)
from pipeline.message import decode_body
from pipeline.ports import MessageTrace, TimelineEvent
from pipeline.route.receipts import OWNER, PROVIDER


class TracedEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One event.  `attempt` and `try` count from 1; `detail`: connector, reference or reason."""

    at: str
    event: str
    state: str  # of the message from here on
    attempt: int
    try_no: int = msgspec.field(name="try")
    detail: str
    since_accepted_us: int


class TracedReceipt(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider said later, whether it changed anything or not."""

    at: str
    said: str
    reference: str  # the connector, and what it names the message by
    detail: str


class TraceReport(msgspec.Struct, frozen=True, kw_only=True):
    """One message."""

    id: str
    state: str
    tenant: str
    group: str
    channel: str
    priority: str
    recipient: str  # masked, unless it was asked for
    content: str | None  # None: it was not asked for
    metadata: dict[str, str]
    accepted_at: str
    expires_at: str | None
    due_at: str | None  # not before: of the attempt that it waits for, or as it was accepted
    window: str
    time_zone: str
    lane: str | None  # None: stored, and in no lane: its sender was never told that it is accepted
    events: list[TracedEvent]
    references: list[str]  # by which receipts come: a connector and a name
    receipts: list[TracedReceipt]


async def read_trace(
    store: Inspection, digits: str, *, is_recipient_shown: bool, is_content_shown: bool
) -> TraceReport:
    """Return all that is known of a message; raises `NothingFound`."""
    trace = await store.trace(await find_id(store, digits))
    if trace is None:
        raise unknown_id(digits)
    events = {event.step: event for event in trace.events}
    if trace.lane is not None:
        # What is journaled has happened, whether it is in the timeline yet or not.
        for event in await journaled_events(store, trace.lane, trace.id):
            events.setdefault(event.step, event)
    ordered = [events[step] for step in sorted(events)]
    asked = decode_body(trace.body)
    due_at = None if asked.due_at is None else Instant(asked.due_at)
    if trace.lane is not None:
        awaited = attempt_awaited(ordered[-1].step if ordered else None)
        timers = await store.timers_of(trace.lane, trace.id)
        due_at = min((timer[0] for timer in timers if timer[4] == awaited), default=due_at)
    rows = await store.receipts_of(trace.id)
    recipient = asked.recipient
    if not is_recipient_shown:
        recipient = mask_recipient(asked.channel, recipient)
    return TraceReport(
        id=trace.id.hex(),
        state=_state(ordered),
        tenant=asked.tenant,
        group=asked.group,
        channel=asked.channel,
        priority=asked.priority,
        recipient=recipient,
        content=asked.content if is_content_shown else None,
        metadata=asked.metadata,
        accepted_at=shown_instant(trace.born),
        expires_at=None if asked.expires_at is None else shown_instant(Instant(asked.expires_at)),
        due_at=None if due_at is None else shown_instant(due_at),
        window=asked.window,
        time_zone=asked.time_zone,
        lane=None if trace.lane is None else str(trace.lane),
        events=[_traced(event, trace) for event in ordered],
        references=[row.detail for row in rows if row.side == OWNER],
        receipts=_receipts(rows),
    )


def _receipts(rows: Sequence[ReceiptRow]) -> list[TracedReceipt]:
    names = {row.ref: row.detail for row in rows if row.side == OWNER}
    return [
        TracedReceipt(
            at=shown_instant(row.at), said=row.key, reference=names[row.ref], detail=row.detail
        )
        for row in sorted(rows, key=attrgetter("at"))
        if row.side == PROVIDER
    ]


def _state(events: Sequence[TimelineEvent]) -> str:
    if not events:
        return state_of(None).value
    return _state_after(events[-1].step)


def _state_after(step: Step) -> str:
    # A step that no release knows is damage: it is shown, and `audit` tells of it.
    try:
        return STATE_AFTER[Event(step & EVENT_MASK)].value
    except ValueError:
        return "unreadable"


def _traced(event: TimelineEvent, trace: MessageTrace) -> TracedEvent:
    number = event.step & EVENT_MASK
    known = number in Event._value2member_map_
    return TracedEvent(
        at=shown_instant(event.at),
        event=Event(number).name.lower() if known else f"event {number}",
        state=_state_after(event.step),
        attempt=attempt_of(event.step),
        try_no=try_of(event.step),
        detail=event.detail,
        since_accepted_us=event.at - trace.born,
    )


def show_trace(report: TraceReport) -> None:
    """Write the report for a person."""
    fields = {
        "id": report.id,
        "state": report.state,
        "tenant": report.tenant,
        "group": report.group or "-",
        "channel": report.channel,
        "priority": report.priority,
        "recipient": report.recipient,
        "lane": report.lane or "in none: its sender was never told that it is accepted",
    }
    if report.expires_at is not None:
        fields["expires"] = report.expires_at
    if report.due_at is not None:
        fields["due"] = report.due_at
    if report.window:
        fields["window"] = f"{report.window} {report.time_zone}".strip()
    for name, value in report.metadata.items():
        fields[f"metadata {name}"] = value
    if report.references:
        fields["known as"] = ", ".join(report.references)
    if report.content is not None:
        fields["content"] = report.content
    write_fields(fields)
    write_line()
    before_us = 0
    table: list[Sequence[Cell]] = [(report.accepted_at, "accepted", None, None, None, None, "")]
    for event in report.events:
        table.append(
            (
                event.at,
                event.state,
                shown_span(event.since_accepted_us - before_us),
                shown_span(event.since_accepted_us),
                event.attempt,
                event.try_no,
                event.detail,
            )
        )
        before_us = event.since_accepted_us
    write_table(("at", "state", "took", "in all", "attempt", "try", "detail"), table)
    if report.receipts:
        write_line()
        write_table(
            ("at", "receipt", "of", "detail"),
            [(one.at, one.said, one.reference, one.detail) for one in report.receipts],
        )


async def _trace(
    data: Path | None, digits: str, *, is_recipient_shown: bool, is_content_shown: bool
) -> TraceReport:
    async with open_queries(data) as queries:
        return await read_trace(
            queries.store,
            digits,
            is_recipient_shown=is_recipient_shown,
            is_content_shown=is_content_shown,
        )


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command("trace")
    def _command(
        message_id: Annotated[
            str,
            typer.Argument(metavar="ID", help="Its id, or the first 8 digits of it or more."),
        ],
        is_recipient_shown: Annotated[
            bool, typer.Option("--show-recipients", help="Show the recipient in full.")
        ] = False,
        is_content_shown: Annotated[
            bool, typer.Option("--content", help="Show the content.")
        ] = False,
        data: DataOption = None,
        as_json: JsonOption = False,
    ) -> None:
        """Show everything that happened to one message."""
        report = asyncio.run(
            _trace(
                data,
                parse_digits(message_id),
                is_recipient_shown=is_recipient_shown,
                is_content_shown=is_content_shown,
            )
        )
        if as_json:
            write_json(report)
        else:
            show_trace(report)
