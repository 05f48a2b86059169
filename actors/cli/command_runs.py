"""Carries a command of the command line out: asks, waits, tells.

The lane of a message is the only judge; here is asked and waited, and told what it said.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import typer

from actors.cli.asked_messages import AskedBatch, AskedMessage, by_ids, by_state
from actors.cli.command_desk import CommandDesk
from actors.cli.command_report import (
    RECORDED,
    UNKNOWN,
    CommandReport,
    GroupCommandReport,
    LaneAnswer,
    MessageAnswer,
    tell_group,
    tell_messages,
)
from actors.cli.group import refuse_unknown_group
from actors.cli.not_found import NothingFound
from actors.cli.open_queries import OpenQueries, open_queries
from actors.cli.open_store import open_store
from cluster.local.bell import ring
from pipeline.command import CommandBody, CommandKind, Verdict
from pipeline.errors import SubmissionInvalid
from pipeline.lifecycle import RESOLVED_STATES, MessageState, state_of
from pipeline.limits import QUERY_PAGE_ROWS_MAX
from pipeline.message import group_key

Payload = Callable[[OpenQueries, AskedMessage], Awaitable[CommandBody]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What is asked, and how the command line wants it told."""

    kind: CommandKind
    by: str
    why: str
    wait_s: float
    is_dry_run: bool
    is_sure: bool
    as_json: bool


@asynccontextmanager
async def _open_desk(ask: Ask, queries: OpenQueries) -> AsyncIterator[CommandDesk]:
    async with open_store(queries.settings) as opened:
        yield CommandDesk(
            opened.store,
            queries.generation,
            kind=ask.kind,
            by=ask.by,
            clock=opened.clock,
            ring=partial(ring, queries.path),
        )


# --- messages -------------------------------------------------------------------------------------


async def _to_messages(
    ask: Ask,
    data: Path | None,
    batches_of: Callable[[OpenQueries], AsyncIterator[AskedBatch]],
    payload: Payload,
) -> CommandReport:
    async with open_queries(data) as queries:
        is_running = queries.platform() is not None
        report = CommandReport(
            command=ask.kind.value, is_running=is_running, is_dry_run=ask.is_dry_run
        )
        async with _open_desk(ask, queries) as desk:
            # Whoever was not answered once is not waited for again and again.
            wait_s = ask.wait_s if is_running else 0.0
            async for batch in batches_of(queries):
                answers = [
                    MessageAnswer(id=one.digits, verdict=UNKNOWN, detail=one.reason)
                    for one in batch.unknown
                ]
                if ask.is_dry_run:
                    report.asked += len(batch.messages)
                    report.add(answers)
                    continue
                messages, payloads = [], []
                for message in batch.messages:
                    try:
                        payloads.append(await payload(queries, message))
                    except SubmissionInvalid as invalid:
                        answers.append(
                            MessageAnswer(
                                id=message.id.hex(),
                                verdict=Verdict.REFUSED.value,
                                detail=str(invalid),
                            )
                        )
                    else:
                        messages.append(message)
                asked = await desk.ask(messages, payloads.__getitem__)
                found = await desk.answers(asked, within_s=wait_s)
                for message, one in zip(messages, asked, strict=True):
                    row = found.get(one)
                    answers.append(
                        MessageAnswer(
                            id=message.id.hex(),
                            verdict=RECORDED if row is None else row.verdict,
                            detail="" if row is None else row.detail,
                        )
                    )
                if len(found) < len(asked):
                    wait_s = 0.0
                report.add(answers)
        return report


def run_for_messages(ask: Ask, data: Path | None, digits: list[str], payload: Payload) -> None:
    """Ask of messages by their ids, and end the program with the code that says how it went."""
    report = asyncio.run(_to_messages(ask, data, lambda queries: by_ids(queries, digits), payload))
    if report.unknown == report.asked == 1 and not report.is_dry_run:
        raise NothingFound(report.messages[0].detail)
    tell_messages(report, as_json=ask.as_json, is_waited_for=ask.wait_s > 0)


def run_for_state(
    ask: Ask,
    data: Path | None,
    *,
    tenant: str,
    group: str,
    state: MessageState,
    payload: Payload,
) -> None:
    """Ask of a group's messages that are in a state; see `run_for_messages`."""
    if not ask.is_dry_run:
        _be_sure(ask, f"{ask.kind.value} every message of the group {group} that is {state.value}")
    report = asyncio.run(
        _to_messages(
            ask,
            data,
            lambda queries: by_state(queries, tenant=tenant, group=group, state=state),
            payload,
        )
    )
    if not report.asked:
        raise NothingFound(f"no message of the group {group!r} of {tenant} is {state.value}")
    tell_messages(report, as_json=ask.as_json, is_waited_for=ask.wait_s > 0)


def _be_sure(ask: Ask, what: str) -> None:
    if ask.is_sure:
        return
    if not sys.stdin.isatty():
        raise typer.BadParameter(f"to {what}, say --yes; --dry-run counts them")
    typer.confirm(f"{what}?", abort=True, err=True)


# --- groups ---------------------------------------------------------------------------------------


async def _to_group(ask: Ask, data: Path | None, *, tenant: str, group: str) -> GroupCommandReport:
    async with open_queries(data) as queries:
        is_running = queries.platform() is not None
        key = group_key(tenant, group)
        # Also so that a name that is misspelt does not stop a group to come.
        await refuse_unknown_group(queries.store, tenant=tenant, group=group)
        open_count = await _count_open(queries, key) if ask.is_dry_run else None
        lanes = sorted(await queries.store.list_lanes())
        answers: dict[str, LaneAnswer] = {}
        if not ask.is_dry_run:
            async with _open_desk(ask, queries) as desk:
                asked = await desk.ask_group(key, lanes, why=ask.why)
                found = await desk.answers(asked, within_s=ask.wait_s if is_running else 0.0)
            for one, row in found.items():
                answers[str(one.lane)] = LaneAnswer(
                    lane=str(one.lane),
                    verdict=row.verdict,
                    detail=row.detail,
                    messages=row.counts.get("messages"),
                )
        return GroupCommandReport(
            command=ask.kind.value,
            group=group,
            tenant=tenant,
            is_running=is_running,
            is_dry_run=ask.is_dry_run,
            messages_open=open_count,
            lanes=[
                answers.get(
                    str(lane),
                    LaneAnswer(lane=str(lane), verdict=RECORDED, detail="", messages=None),
                )
                for lane in lanes
            ],
        )


async def _count_open(queries: OpenQueries, key: str) -> int:
    """Return how many messages of a group have no end yet."""
    count, after = 0, None
    while True:
        page, after = await queries.store.messages_in_group(
            key, limit=QUERY_PAGE_ROWS_MAX, after=after
        )
        count += sum(state_of(one.step) not in RESOLVED_STATES for one in page)
        if after is None:
            return count


def run_for_group(ask: Ask, data: Path | None, *, tenant: str, group: str) -> None:
    """Ask of a group as a whole; see `run_for_messages`."""
    if ask.kind is CommandKind.CANCEL and not ask.is_dry_run:
        _be_sure(ask, f"cancel the group {group}, and what is still accepted under its name")
    report = asyncio.run(_to_group(ask, data, tenant=tenant, group=group))
    tell_group(report, as_json=ask.as_json, is_waited_for=ask.wait_s > 0)
