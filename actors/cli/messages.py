"""`shardpost messages`: the messages in a state, or of a group, page by page."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer

from actors.cli.open_queries import OpenQueries, open_queries
from actors.cli.options import DataOption, JsonOption
from actors.cli.output import shown_instant, write_json, write_line, write_table
from actors.cli.unnamed_messages import unnamed_messages
from pipeline.ingest.recipient_mask import mask_recipient
from pipeline.lifecycle import STATE_AFTER, MessageState, state_of
from pipeline.limits import MESSAGES_SHOWN, QUERY_PAGE_ROWS_MAX
from pipeline.message import decode_body, group_key
from pipeline.ports import MessageSummary, QueryStore

_LOOK_ROWS: Final = QUERY_PAGE_ROWS_MAX
# Found by an index; of all others there are too many to look for those of one group among them.
_FEW: Final = frozenset({MessageState.UNCERTAIN, MessageState.FAILED, MessageState.EXPIRED})


class MessageReport(msgspec.Struct, frozen=True, kw_only=True):
    """One message of a list."""

    id: str
    state: str
    born_at: str
    tenant: str
    channel: str
    recipient: str  # masked, unless it was asked for
    group: str


class MessagesReport(msgspec.Struct, frozen=True, kw_only=True):
    """A page; `after` is given to `--after` for the next one, None: this was the last."""

    messages: list[MessageReport]
    after: str | None


Page = tuple[list[MessageSummary], bytes | None]


async def read_page(
    store: QueryStore,
    *,
    state: MessageState | None,
    group: str | None,
    limit: int,
    after: bytes | None,
) -> Page:
    """Return a page of the messages of a state, of a group key, or of both."""
    page: list[MessageSummary] = []
    while True:
        found, next_after = await _read(store, state, group, limit=_LOOK_ROWS, after=after)
        places = [n for n, one in enumerate(found) if _is_asked_for(one, state, group)]
        room = limit - len(page)
        if len(places) > room:
            # The page ends inside of what was found; only the store knows how to say where.
            end = places[room - 1] + 1
            found, next_after = await _read(store, state, group, limit=end, after=after)
        page += [one for one in found if _is_asked_for(one, state, group)]
        after = next_after
        if after is None or len(page) >= limit:
            return page, after


async def _read(
    store: QueryStore,
    state: MessageState | None,
    group: str | None,
    *,
    limit: int,
    after: bytes | None,
) -> Page:
    if state is MessageState.ACCEPTED:
        return await unnamed_messages(store, limit=limit, after=after)
    if state is not None and (group is None or state in _FEW):
        events = [event for event, end in STATE_AFTER.items() if end is state]
        return await store.messages_in_state(events, limit=limit, after=after)
    assert group is not None
    return await store.messages_in_group(group, limit=limit, after=after)


def _is_asked_for(one: MessageSummary, state: MessageState | None, group: str | None) -> bool:
    if state is not None and state_of(one.step) is not state:
        return False
    if group is None:
        return True
    submission = decode_body(one.body)
    return group_key(submission.tenant, submission.group) == group


def message_report(one: MessageSummary, *, are_recipients_shown: bool) -> MessageReport:
    """Return what is told of a message."""
    asked = decode_body(one.body)
    return MessageReport(
        id=one.id.hex(),
        state=state_of(one.step).value,
        born_at=shown_instant(one.born),
        tenant=asked.tenant,
        channel=asked.channel,
        recipient=(
            asked.recipient
            if are_recipients_shown
            else mask_recipient(asked.channel, asked.recipient)
        ),
        group=asked.group,
    )


def show_messages(messages: Sequence[MessageReport], *, after: str | None) -> None:
    """Write a page for a person."""
    if not messages and after is None:
        write_line("No messages.")
        return
    write_table(
        ("id", "state", "born", "tenant", "channel", "recipient", "group"),
        [
            (one.id, one.state, one.born_at, one.tenant, one.channel, one.recipient, one.group)
            for one in messages
        ],
    )
    if after is not None:
        write_line()
        write_line(f"There are more: --after {after}")


async def _messages(
    queries: OpenQueries,
    *,
    state: MessageState | None,
    group: str | None,
    limit: int,
    after: bytes | None,
    are_recipients_shown: bool,
) -> MessagesReport:
    page, place = await read_page(queries.store, state=state, group=group, limit=limit, after=after)
    return MessagesReport(
        messages=[message_report(one, are_recipients_shown=are_recipients_shown) for one in page],
        after=None if place is None else place.hex(),
    )


def _parse_cursor(text: str) -> bytes:
    try:
        if cursor := bytes.fromhex(text):
            return cursor
    except ValueError:
        pass
    raise typer.BadParameter("--after: give what the last page ended with, unchanged")


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command("messages")
    def _command(
        state: Annotated[
            MessageState | None, typer.Option(help="In this state.", show_default=False)
        ] = None,
        group: Annotated[
            str | None, typer.Option(help="Of this group.", show_default=False)
        ] = None,
        tenant: Annotated[str, typer.Option(help="Whose group it is.")] = "default",
        limit: Annotated[
            int, typer.Option(help="How many.", min=1, max=QUERY_PAGE_ROWS_MAX)
        ] = MESSAGES_SHOWN,
        after: Annotated[
            str | None, typer.Option(help="Go on where the last page ended.", show_default=False)
        ] = None,
        are_recipients_shown: Annotated[
            bool, typer.Option("--show-recipients", help="Show recipients in full.")
        ] = False,
        data: DataOption = None,
        as_json: JsonOption = False,
    ) -> None:
        """List the messages in a state, or of a group; recipients are masked."""
        if state is None and group is None:
            raise typer.BadParameter("give --state or --group")
        cursor = None if after is None else _parse_cursor(after)

        async def read(path: Path | None) -> MessagesReport:
            async with open_queries(path) as queries:
                return await _messages(
                    queries,
                    state=state,
                    group=None if group is None else group_key(tenant, group),
                    limit=limit,
                    after=cursor,
                    are_recipients_shown=are_recipients_shown,
                )

        report = asyncio.run(read(data))
        if as_json:
            write_json(report)
        else:
            show_messages(report.messages, after=report.after)
