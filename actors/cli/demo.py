"""`shardpost demo`: the whole platform on one machine, from a file to closed books."""

import asyncio
import io
import json
import shlex
import shutil
import sys
import time
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console

from actors.cli.books_wait import GroupBooks, wait_until_closed
from actors.cli.chunks import batch_key_of
from actors.cli.delivery_times import DeliveryTimes, evenly_spaced, read_delivery_times
from actors.cli.exit_codes import ExitCode
from actors.cli.input_file import InputFile, open_input
from actors.cli.main import PROGRAM
from actors.cli.mapping import FieldMapping, FieldOptions, resolve_mapping
from actors.cli.open_queries import open_queries_of
from actors.cli.options import DataOption, JsonOption
from actors.cli.running import running_platform, stop_asked
from actors.cli.send import (
    advice_on_repeat,
    key_of_batch,
    opened_rejects,
    send_opened,
    summary_of,
    tell_summary,
)
from cluster.runtime.settings import Settings, load_settings
from pipeline.ingest.ids import batch_ids
from pipeline.message import group_key
from pipeline.ports import QueryStore

SAMPLE: Final = Path(__file__).with_name("sample.csv")
_SAID_EVERY_S: Final = 1.0


def demo(
    messages: Annotated[
        Path | None,
        typer.Argument(help="A file of messages.", show_default="a small sample"),
    ] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Start the platform, send a file, wait until its books close, drain and stop.

    A second run with the same file goes on where the first one stopped, and sends nothing twice.  A
    file without recipients gets made-up numbers of a range that belongs to nobody.
    """
    settings = load_settings(data=data)
    path = messages or SAMPLE
    # Named after the content, so that the books of two files are not mixed.
    group = f"demo-{batch_key_of(path).hex()[:8]}"
    opened = open_input(str(path), standard_input=io.BytesIO())
    try:
        mapping = resolve_mapping(
            opened.columns,
            FieldOptions(group=group),
            has_rows=opened.has_rows,
            made_up_recipients=True,
            are_columns_numbered=opened.are_columns_numbered,
        )
        told = asyncio.run(_demo(settings, opened, mapping, group=group, as_json=as_json))
    finally:
        opened.close()
    if told is None:
        raise typer.Exit(ExitCode.INTERRUPTED)
    if as_json:
        print(json.dumps(told))  # noqa: T201


async def _demo(
    settings: Settings, opened: InputFile, mapping: FieldMapping, *, group: str, as_json: bool
) -> dict[str, Any] | None:
    console = Console(quiet=as_json, soft_wrap=True)
    console.print(f"Starting the platform on {settings.data} …", highlight=False)
    async with running_platform(settings) as (platform, watch):
        console.print(f"Ray dashboard: {platform.dashboard_url or 'off'}", highlight=False)
        console.print(opened.describe(), highlight=False, markup=False)
        console.print(mapping.describe(), highlight=False, markup=False)
        async with open_queries_of(settings) as queries:
            work = asyncio.create_task(
                _send_and_wait(
                    opened, mapping, queries.store, group=group, data=settings.data, console=console
                )
            )
            asked = asyncio.create_task(stop_asked())
            ended = asyncio.wait({work, asked}, return_when=asyncio.FIRST_COMPLETED)
            try:
                await watch.keep(ended)
            finally:
                asked.cancel()
                if not work.done():
                    work.cancel()
                    await asyncio.gather(work, return_exceptions=True)
            if work.cancelled():
                console.print("Draining: what is claimed is finished.  Run it again to go on.")
                return None
            return await work


async def _send_and_wait(
    opened: InputFile,
    mapping: FieldMapping,
    queries: QueryStore,
    *,
    group: str,
    data: Path,
    console: Console,
) -> dict[str, Any]:
    begun = time.perf_counter()
    group_name = group_key(mapping.tenant, group)
    said = begun
    accepted_count: int | None = None
    batch_key = key_of_batch(None, opened)

    def on_look(books: GroupBooks) -> None:
        nonlocal said
        now = time.perf_counter()
        if now - said >= _SAID_EVERY_S:
            said = now
            console.print(_line_of(books, seconds=now - begun), highlight=False)

    closing = asyncio.create_task(
        wait_until_closed(
            queries, group_name, accepted_count=lambda: accepted_count, on_look=on_look
        )
    )
    try:
        with opened_rejects(opened, None) as reject_file:
            account, seconds = await send_opened(
                opened,
                mapping,
                batch_key=batch_key,
                rejects=reject_file,
                console=Console(quiet=True),
                advice=advice_on_repeat(is_keyed=opened.is_regular),
            )
        told = summary_of(account, seconds=seconds, reject_file=reject_file)
        tell_summary(console, told)
        accepted_count = account.accepted_count
        books = await closing
    finally:
        closing.cancel()
    told["closed_after_seconds"] = round(time.perf_counter() - begun, 3)
    told["group"] = group
    told["books"] = {state.value: n for state, n in sorted(books.counts.items()) if n}
    sample = batch_ids(
        tenant=mapping.tenant,
        batch_key=batch_key,
        indexes=evenly_spaced(account.records_count),
    )
    times = await read_delivery_times(queries, sample)
    told |= {"p50_ms": times.p50_ms, "p99_ms": times.p99_ms}
    _tell_end(console, told, times, data=data)
    return told


def _line_of(books: GroupBooks, *, seconds: float) -> str:
    done = books.named_count - books.open_count
    return f"{seconds:5.1f} s  {books.named_count:>9,} claimed  {done:>9,} with an outcome"


def _tell_end(console: Console, told: dict[str, Any], times: DeliveryTimes, *, data: Path) -> None:
    seconds = told["closed_after_seconds"]
    counts = ", ".join(f"{state} {n:,}" for state, n in told["books"].items())
    console.print(f"The books of group {told['group']} are closed: {counts}.", highlight=False)
    rate = told["accepted"] / seconds if seconds else 0
    console.print(
        f"From the first byte read to closed books: {seconds:,.1f} s, {rate:,.0f} messages/s.",
        highlight=False,
    )
    if times.count:
        console.print(
            f"Accepted to outcome recorded, {times.count:,} messages:"
            f" p50 {times.p50_ms:,.0f} ms, p99 {times.p99_ms:,.0f} ms.",
            highlight=False,
        )
    if told["first_id"]:
        command = shlex.join([_program(), "trace", told["first_id"], "--data", str(data)])
        console.print(f"Follow one message: {command}", highlight=False, markup=False)


def _program() -> str:
    """Return what a shell finds this program by: `make run` calls it by its path."""
    return PROGRAM if shutil.which(PROGRAM) else sys.argv[0]
