"""`shardpost suppress`: who gets nothing any more from a tenant on a channel.

The list keeps a hash of each recipient, and what may be shown of it: nobody can write to those on
it who only has the list.  Whether somebody is on it can be asked by their address or number.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer

from actors.cli.exit_codes import ExitCode
from actors.cli.input_file import InputFormat, open_input
from actors.cli.not_found import NothingFound
from actors.cli.open_queries import open_queries
from actors.cli.open_store import OpenStore, open_store
from actors.cli.options import ByOption, DataOption, JsonOption, TenantOption, who_asks
from actors.cli.output import counted, shown_instant, write_json, write_line, write_table
from actors.cli.rejects import RejectFile
from actors.cli.suppression_file import Listed, SuppressionColumns, canonical, parse_reason
from cluster.runtime.settings import load_settings
from cluster.topology.generation import Core, Generation
from pipeline.errors import InputInvalid, SubmissionInvalid
from pipeline.ingest.recipient import CHANNELS
from pipeline.ingest.recipient_mask import mask_recipient
from pipeline.ingest.submission import check_tenant
from pipeline.later import SuppressionRow
from pipeline.limits import MESSAGES_SHOWN, QUERY_PAGE_ROWS_MAX
from pipeline.route.suppression import SuppressionKey, SuppressionReason, suppression_key

ChannelOption = Annotated[
    str, typer.Option(help=f"One of {', '.join(CHANNELS)}.", show_default=False)
]
RegionOption = Annotated[str | None, typer.Option(help="Country of numbers without +, such as GB.")]
RecipientsArgument = Annotated[
    list[str],
    typer.Argument(metavar="RECIPIENT…", help="Addresses or numbers, as `send` has them."),
]
_REASON_HELP: Final = f"One of {', '.join(SuppressionReason)}."


class SuppressionReport(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody on the list; `recipient` is what may be shown, `key` tells one from another."""

    channel: str
    recipient: str
    reason: str
    since: str
    by: str
    key: str


class SuppressionsReport(msgspec.Struct, frozen=True, kw_only=True):
    """A page; `after` is given to `--after` for the next one, None: this was the last."""

    tenant: str
    suppressions: list[SuppressionReport]
    after: str | None


class SuppressedReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was noted."""

    added: int
    listed_before: int
    refused: int
    rejects: str | None = None
    reasons: str | None = None


class RemovedReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was taken off."""

    removed: int
    not_listed: int


# --- what is written ------------------------------------------------------------------------------


async def note(opened: OpenStore, tenant: str, listed: Iterable[Listed], *, by: str) -> int:
    """Put recipients on the list; return how many were not on it before.

    Who is on it stays as they are: since when and why they are is not overwritten.  Raises
    `InputInvalid` if the clock says that they were taken off in the future.
    """
    store = opened.store
    since = opened.clock.now()
    rows: dict[SuppressionKey, SuppressionRow] = {}
    for one in listed:
        key = suppression_key(tenant, one.channel, one.recipient)
        shown = mask_recipient(one.channel, one.recipient)
        rows[key] = SuppressionRow(key, tenant, one.channel, shown, since, one.reason, by)
    added = 0
    for core, keys in by_core(opened.generation, rows).items():
        there = await store.read_suppressions(core, keys)
        new = [key for key in keys if key not in there]
        if not new:
            continue
        await store.put_suppressions(core, [rows[key] for key in new])
        noted = await store.read_suppressions(core, new)
        if len(noted) < len(new):
            raise InputInvalid(
                f"{len(new) - len(noted)} recipients were taken off the list at a time that lies"
                " ahead of this machine's clock: set the clock right, then repeat the command"
            )
        added += len(new)
    return added


async def take_off(opened: OpenStore, keys: Sequence[SuppressionKey]) -> int:
    """Take recipients off the list; return how many were on it.

    Raises `InputInvalid` if the clock says that they were put on it in the future.
    """
    removed = 0
    for core, mine in by_core(opened.generation, dict.fromkeys(keys)).items():
        there = list(await opened.store.read_suppressions(core, mine))
        await opened.store.remove_suppressions(core, there, at=opened.clock.now())
        if kept := await opened.store.read_suppressions(core, there):
            raise InputInvalid(
                f"{len(kept)} recipients are on the list since a time that lies ahead of this"
                " machine's clock: set the clock right, then repeat the command"
            )
        removed += len(there)
    return removed


def by_core(
    generation: Generation, keys: Iterable[SuppressionKey]
) -> dict[Core, list[SuppressionKey]]:
    """Return the keys by the core that holds them."""
    found: dict[Core, list[SuppressionKey]] = {}
    for key in keys:
        found.setdefault(generation.core_of(key), []).append(key)
    return found


# --- commands -------------------------------------------------------------------------------------

group = typer.Typer()


@group.callback(invoke_without_command=True)
def _group(context: typer.Context) -> None:
    """Say who gets nothing any more from a tenant on a channel."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit(ExitCode.USAGE)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(group, name="suppress")


@group.command("add")
def add(
    recipients: RecipientsArgument,
    channel: ChannelOption,
    tenant: TenantOption = "default",
    reason: Annotated[str, typer.Option(help=_REASON_HELP)] = SuppressionReason.MANUAL.value,
    region: RegionOption = None,
    by: ByOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let recipients get nothing any more; who is on the list already stays as they are."""
    try:
        check_tenant(tenant)
        why = parse_reason(reason)
        listed = [
            Listed(channel, one, why)
            for one in canonical(channel, recipients, default_region=region and region.upper())
        ]
    except SubmissionInvalid as invalid:
        raise InputInvalid(f"{invalid}; nothing was changed") from None
    asks = who_asks(by)

    async def run() -> int:
        async with _opened(data) as opened:
            return await note(opened, tenant, listed, by=asks)

    added = asyncio.run(run())
    _tell_added(
        SuppressedReport(
            added=added, listed_before=len({one.recipient for one in listed}) - added, refused=0
        ),
        as_json=as_json,
    )


@group.command("import")
def import_file(
    file: Annotated[str, typer.Argument(help="A recipient a line, or columns; - for input.")],
    channel: Annotated[
        str | None,
        typer.Option(help=f"One of {', '.join(CHANNELS)}.", show_default="as columns tell"),
    ] = None,
    column: Annotated[str | None, typer.Option(help="Which column holds the recipient.")] = None,
    tenant: TenantOption = "default",
    reason: Annotated[
        str, typer.Option(help=f"{_REASON_HELP}  A column `reason` comes first.")
    ] = SuppressionReason.MANUAL.value,
    region: RegionOption = None,
    by: ByOption = None,
    rejects: Annotated[Path | None, typer.Option(help="Folder for refused records.")] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put everybody in a file on the list; the same file again changes nothing."""
    try:
        check_tenant(tenant)
        why = parse_reason(reason)
    except SubmissionInvalid as invalid:
        raise InputInvalid(str(invalid)) from None
    asks = who_asks(by)
    opened_file = open_input(file, standard_input=sys.stdin.buffer, otherwise=InputFormat.CSV)
    try:
        columns = SuppressionColumns(
            opened_file,
            column=column,
            channel=channel,
            reason=why,
            default_region=region and region.upper(),
        )
        with RejectFile(opened_file, folder=rejects) as reject_file:

            async def run() -> tuple[int, int]:
                added = read = 0
                async with _opened(data) as opened:
                    for batch in columns.read():
                        added += await note(opened, tenant, batch.listed, by=asks)
                        read += len(batch.listed)
                        reject_file.write(batch.refused)
                return added, read

            added, read = asyncio.run(run())
    finally:
        opened_file.close()
    report = SuppressedReport(
        added=added,
        listed_before=read - added,
        refused=reject_file.count,
        rejects=None if reject_file.path is None else str(reject_file.path),
        reasons=None if reject_file.reasons_path is None else str(reject_file.reasons_path),
    )
    _tell_added(report, as_json=as_json)
    if report.refused:
        raise typer.Exit(ExitCode.SOME_REFUSED)


@group.command("remove")
def remove(
    recipients: RecipientsArgument,
    channel: ChannelOption,
    tenant: TenantOption = "default",
    region: RegionOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take recipients off the list; messages that were suppressed stay so."""
    keys = _keys(tenant, channel, recipients, region)

    async def run() -> int:
        async with _opened(data) as opened:
            return await take_off(opened, keys)

    removed = asyncio.run(run())
    if not removed:
        raise NothingFound(
            f"none of them is on the list of {tenant} for {channel}: look at the tenant and channel"
        )
    report = RemovedReport(removed=removed, not_listed=len(set(keys)) - removed)
    if as_json:
        write_json(report)
    else:
        missing = f"; {report.not_listed:,} were not on the list" if report.not_listed else ""
        write_line(f"{removed:,} taken off the list{missing}.")


@group.command("list")
def list_them(
    tenant: TenantOption = "default",
    channel: Annotated[
        str | None, typer.Option(help="Only of this channel.", show_default=False)
    ] = None,
    recipient: Annotated[
        str | None, typer.Option(help="Only this one; with --channel.", show_default=False)
    ] = None,
    region: RegionOption = None,
    limit: Annotated[
        int, typer.Option(help="How many.", min=1, max=QUERY_PAGE_ROWS_MAX)
    ] = MESSAGES_SHOWN,
    after: Annotated[
        str | None, typer.Option(help="Go on where the last page ended.", show_default=False)
    ] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show who is on the list, or whether somebody is."""
    if recipient is not None and channel is None:
        raise typer.BadParameter("--recipient needs --channel")
    if channel is not None and channel not in CHANNELS:
        raise typer.BadParameter(f"--channel: one of {', '.join(CHANNELS)}")
    try:
        cursor = None if after is None else bytes.fromhex(after)
    except ValueError:
        raise typer.BadParameter("--after: give what the last page ended with, unchanged") from None
    wanted = None if recipient is None else _keys(tenant, channel or "", [recipient], region)[0]

    async def run() -> tuple[list[SuppressionRow], bytes | None]:
        if wanted is not None:
            async with _opened(data) as opened:
                core = opened.generation.core_of(wanted)
                return [*(await opened.store.read_suppressions(core, [wanted])).values()], None
        async with open_queries(data) as queries:
            page: list[SuppressionRow] = []
            end = cursor
            while True:
                room = limit - len(page)
                found, end = await queries.store.suppressions(tenant, limit=room, after=end)
                page += [row for row in found if channel is None or row.channel == channel]
                if end is None or len(page) == limit:
                    return page, end

    rows, end = asyncio.run(run())
    if wanted is not None and not rows:
        raise NothingFound(f"they are not on the list of {tenant} for {channel}")
    report = SuppressionsReport(
        tenant=tenant,
        suppressions=[
            SuppressionReport(
                channel=row.channel,
                recipient=row.recipient,
                reason=row.reason,
                since=shown_instant(row.since),
                by=row.by,
                key=row.key.hex(),
            )
            for row in rows
        ],
        after=None if end is None else end.hex(),
    )
    if as_json:
        write_json(report)
    elif not report.suppressions:
        write_line(f"Nobody is on the list of {tenant}.")
    else:
        write_table(
            ("channel", "recipient", "reason", "since", "by"),
            [
                (one.channel, one.recipient, one.reason, one.since, one.by)
                for one in report.suppressions
            ],
        )
        if report.after is not None:
            write_line()
            write_line(f"There are more: --after {report.after}")


def _keys(
    tenant: str, channel: str, recipients: Sequence[str], region: str | None
) -> list[SuppressionKey]:
    try:
        check_tenant(tenant)
        named = canonical(channel, recipients, default_region=region and region.upper())
    except SubmissionInvalid as invalid:
        raise InputInvalid(str(invalid)) from None
    return [suppression_key(tenant, channel, one) for one in named]


@asynccontextmanager
async def _opened(data: Path | None) -> AsyncIterator[OpenStore]:
    # A list in a folder that was named wrongly would keep nobody from anything.
    async with open_store(load_settings(data=data)) as opened:
        yield opened


def _tell_added(report: SuppressedReport, *, as_json: bool) -> None:
    if as_json:
        write_json(report)
        return
    before = f"; {report.listed_before:,} were on the list before" if report.listed_before else ""
    write_line(f"{report.added:,} put on the list{before}.")
    if report.refused:
        write_line(
            f"{counted(report.refused, 'record')} refused: {report.rejects}"
            f" (reasons in {report.reasons})."
        )
