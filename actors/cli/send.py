"""`shardpost send`: a file goes through the running platform."""

import asyncio
import json
import random
import secrets
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console

from actors.cli.chunks import Chunk, batch_key_of_opened, read_chunks
from actors.cli.exit_codes import ExitCode
from actors.cli.home import find_home
from actors.cli.input_file import InputFile, open_input
from actors.cli.mapping import FieldMapping, FieldOptions, resolve_mapping
from actors.cli.options import (
    AtOption,
    DataOption,
    ExpiresOption,
    JsonOption,
    OrderingKeyOption,
    TimeZoneOption,
    WindowOption,
)
from actors.cli.output import counted, printable
from actors.cli.platform_watch import PlatformWatch
from actors.cli.preview import show_preview
from actors.cli.progress import SendProgress
from actors.cli.rejects import RejectFile
from actors.cli.sending import SendAccount, send_chunks
from actors.cli.slow_input import chunks_of
from cluster.local.platform_lock import read_platform, takes_messages
from cluster.runtime.clock import SystemClock
from cluster.runtime.logging import configure_logging
from cluster.runtime.ray_environment import prepare_ray_environment
from cluster.runtime.settings import LogLevel, load_settings
from pipeline.errors import InputInvalid, PlatformNotRunning
from pipeline.limits import BATCH_KEY_BYTES_MAX, SEND_CHUNKS_IN_FLIGHT_MAX

_DIGEST: Final = b"digest:"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(send)


def send(
    file: Annotated[str, typer.Argument(help="JSON lines, CSV or TSV; - for standard input.")],
    data: DataOption = None,
    to: Annotated[str | None, typer.Option(help="Template of the recipient: '{phone}'.")] = None,
    content: Annotated[str | None, typer.Option(help="Template: 'Hello {name|you}'.")] = None,
    channel: Annotated[str | None, typer.Option(help="Template or name of a channel.")] = None,
    group: Annotated[str | None, typer.Option(help="Template: the campaign or batch.")] = None,
    priority: Annotated[
        str | None, typer.Option(help="urgent, normal or bulk.", show_default="bulk")
    ] = None,
    tenant: Annotated[str | None, typer.Option(help="Whose messages they are.")] = None,
    meta: Annotated[list[str] | None, typer.Option(help="NAME=TEMPLATE, repeatable.")] = None,
    key: Annotated[
        str | None,
        typer.Option(
            help="Column with a key of each record: same key, same message, in whatever file."
        ),
    ] = None,
    region: Annotated[
        str | None, typer.Option(help="Country of numbers without +, such as GB.")
    ] = None,
    at: AtOption = None,
    window: WindowOption = None,
    time_zone: TimeZoneOption = None,
    expires: ExpiresOption = None,
    ordering_key: OrderingKeyOption = None,
    format_name: Annotated[
        str | None, typer.Option("--format", help="jsonl, csv or tsv, if the name does not say.")
    ] = None,
    columns: Annotated[str | None, typer.Option(help="Names of the columns: a,b,c.")] = None,
    header: Annotated[
        bool | None, typer.Option(help="Whether the first line names the columns.")
    ] = None,
    delimiter: Annotated[
        str | None,
        typer.Option(help="What parts the columns of CSV: , or ; or |.", show_default="found out"),
    ] = None,
    batch_key: Annotated[
        str | None,
        typer.Option(
            help="Under the same key nothing is sent twice.", show_default="the file's digest"
        ),
    ] = None,
    rejects: Annotated[Path | None, typer.Option(help="Folder for refused records.")] = None,
    strict: Annotated[bool, typer.Option(help="Send nothing if a record is refused.")] = False,
    dry_run: Annotated[
        bool, typer.Option(help="Show what would be sent, send nothing; ends as the sending would.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Send a file through the running platform; the same file again sends nothing twice.

    A file is the same if every byte is.  One that got more lines is another, and all of its lines
    are sent, the old ones too: where files grow, name from the first sending on a column that tells
    messages apart, such as --key order_id.  Then only lines with a new key are sent.
    """
    settings = load_settings(data=data)
    fields = FieldOptions(
        to=to,
        content=content,
        channel=channel,
        group=group,
        priority=priority,
        tenant=tenant,
        metadata=_metadata(meta or []),
        key=key,
        default_region=region,
        at=at,
        window=window,
        time_zone=time_zone,
        expires=expires,
        ordering_key=ordering_key,
    )
    now = SystemClock().now()

    def open_again() -> tuple[InputFile, FieldMapping]:
        opened = open_input(
            file,
            # Without the buffer, whose lock a thread that waits for input would hold (slow_input).
            standard_input=getattr(sys.stdin.buffer, "raw", sys.stdin.buffer),
            format_name=format_name,
            columns=None if columns is None else columns.split(","),
            has_header=header,
            delimiter=delimiter,
        )
        return opened, resolve_mapping(
            opened.columns,
            fields,
            has_rows=opened.has_rows,
            are_columns_numbered=opened.are_columns_numbered,
            hint=opened.hint,
            now=now,
        )

    opened, mapping = open_again()
    if dry_run:
        refused_count = show_preview(opened, mapping, as_json=as_json)
        opened.close()
        if refused_count:
            raise typer.Exit(ExitCode.SOME_REFUSED)
        return
    if strict:
        if opened.regular is None:
            raise InputInvalid(
                "--strict reads the input twice: give it a file, not standard input or a pipe"
            )
        checked = opened.regular.state
        refuse_any(read_chunks(opened, mapping))
        opened.close()
        opened, mapping = open_again()
        if opened.regular is None or opened.regular.state != checked:
            raise InputInvalid(f"{file}: was changed after it was checked; nothing was sent")
    address = read_platform(find_home(settings))
    if address.is_ending:
        raise PlatformNotRunning(
            f"the platform on {settings.data} is ending: start it again with `shardpost up`"
        )
    prepare_ray_environment(settings.data.absolute(), niceness=0)
    configure_logging(LogLevel.WARNING, settings.log_format)
    from cluster.runtime.embedded_ray import join_embedded_ray, stop_ray

    advice = advice_on_repeat(
        is_keyed=opened.is_regular or key is not None or batch_key is not None
    )
    join_embedded_ray(address=address.ray_address, namespace=address.namespace)
    try:
        with opened_rejects(opened, rejects) as reject_file:
            watch = PlatformWatch(
                lambda: takes_messages(settings.data.absolute()),
                advice=f"start it with `shardpost up --data {settings.data}`; {advice}",
            )
            account, seconds = asyncio.run(
                watch.keep(
                    send_opened(
                        opened,
                        mapping,
                        batch_key=key_of_batch(batch_key, opened),
                        rejects=reject_file,
                        console=Console(stderr=True, quiet=as_json, soft_wrap=True),
                        advice=advice,
                        watch=watch,
                    )
                )
            )
    finally:
        opened.close()
        stop_ray()
    told = summary_of(account, seconds=seconds, reject_file=reject_file)
    if as_json:
        print(json.dumps(told))  # noqa: T201
    else:
        tell_summary(Console(soft_wrap=True), told)
    if account.refused_count:
        raise typer.Exit(ExitCode.SOME_REFUSED)


def advice_on_repeat(*, is_keyed: bool) -> str:
    """Return what a person may do about an answer that is missing."""
    if is_keyed:
        return "run the same command again: nothing is sent twice"
    return (
        "what was accepted stays accepted, and the same input again would be a new batch:"
        " name a --batch-key where that may happen"
    )


def refuse_any(chunks: Iterator[Chunk]) -> None:
    """Raise `InputInvalid` for the first record that would be refused."""
    for chunk in chunks:
        if chunk.refused:
            first = chunk.refused[0]
            raise InputInvalid(f"line {first.line_number}: {first.reason}; nothing was sent")


def opened_rejects(opened: InputFile, folder: Path | None) -> RejectFile:
    """Return the reject file of an input; nothing is created before the first refusal."""
    return RejectFile(opened, folder=folder)


def key_of_batch(asked: str | None, opened: InputFile) -> bytes:
    """Return the key under which a repeat sends nothing twice."""
    if asked is not None:
        encoded = asked.encode()
        if not 1 <= len(encoded) <= BATCH_KEY_BYTES_MAX:
            raise InputInvalid(f"--batch-key: 1 to {BATCH_KEY_BYTES_MAX} bytes")
        return b"named:" + encoded
    if not opened.is_regular:
        # What comes through a pipe has no digest before its end; a repeat would be a new batch.
        return b"stream:" + secrets.token_bytes(16)
    return _DIGEST + batch_key_of_opened(opened)


async def send_opened(
    opened: InputFile,
    mapping: FieldMapping,
    *,
    batch_key: bytes,
    rejects: RejectFile,
    console: Console,
    advice: str,
    watch: PlatformWatch | None = None,
) -> tuple[SendAccount, float]:
    """Send a file; return its account and how many seconds it took."""
    from actors.handles import find_ingesters
    from actors.sender import Sender

    find = find_ingesters if watch is None else watch.guarding(find_ingesters)
    begun = time.perf_counter()
    account_began_at = SystemClock().now() / 1e6
    with SendProgress(console, size_bytes=opened.size_bytes, seconds=time.perf_counter) as progress:
        account = await send_chunks(
            chunks_of(
                opened,
                mapping,
                is_known_by_content=mapping.key is None and batch_key.startswith(_DIGEST),
            ),
            tenant=mapping.tenant,
            batch_key=batch_key,
            sender=Sender(
                find,
                chance=random.Random(),
                advice=advice,
                # A chunk that overtakes another would change the order of a key.
                in_flight_max=(
                    SEND_CHUNKS_IN_FLIGHT_MAX if mapping.plan.ordering_key is None else 1
                ),
            ),
            rejects=rejects,
            on_progress=progress.show,
        )
    account.began_at = account_began_at
    return account, time.perf_counter() - begun


def summary_of(account: SendAccount, *, seconds: float, reject_file: RejectFile) -> dict[str, Any]:
    """Return what is told at the end of a sending."""
    return {
        "records": account.records_count,
        "accepted": account.accepted_count,
        "accepted_before": account.accepted_before_count,
        "repeated": account.repeated_count,
        "refused": account.refused_count,
        "first_id": account.first_id.hex() or None,
        "began_at": account.began_at,
        "seconds": round(seconds, 3),
        "rejects": None if reject_file.path is None else str(reject_file.path),
        "reasons": None if reject_file.reasons_path is None else str(reject_file.reasons_path),
        "first_refusal": reject_file.first,
    }


def tell_summary(console: Console, told: dict[str, Any]) -> None:
    """Print the summary for a person."""
    line = f"{counted(told['accepted'], 'message')} accepted"
    if told["accepted_before"]:
        line += f" ({told['accepted_before']:,} of them accepted before: not sent again)"
    line += f" in {told['seconds']:,.1f} s"
    if told["seconds"]:
        line += f", {told['records'] / told['seconds']:,.0f}/s"
    console.print(line + ".", highlight=False)
    if told["repeated"]:
        console.print(
            f"{told['repeated']:,} records repeat the key and content of an earlier one.",
            highlight=False,
        )
    if told["refused"]:
        console.print(
            f"{counted(told['refused'], 'record')} refused: {told['rejects']}"
            f" (reasons in {told['reasons']}).  Mend that file and send it as a file of its own.\n"
            f"The first of them: {printable(told['first_refusal'])}.",
            highlight=False,
            markup=False,
        )


def _metadata(pairs: list[str]) -> dict[str, str]:
    metadata = {}
    for pair in pairs:
        name, separator, template = pair.partition("=")
        if not separator or not name:
            raise InputInvalid(f"--meta {pair!r}: write NAME=TEMPLATE")
        metadata[name] = template
    return metadata
