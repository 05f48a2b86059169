"""`shardpost export GROUP`: every message of a group with what became of it, as a file.

Pages come and are written one after another, so that a group of any size needs little memory.
Each message is in it once, as it stood when its page was read; what is accepted meanwhile may be
missing.
"""

import asyncio
import csv
import json
import os
import sys
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final, TextIO

import msgspec
import typer

from actors.cli.group import no_such_group
from actors.cli.open_queries import open_queries
from actors.cli.options import DataOption, TenantOption
from actors.cli.output import shown_instant, write_json, write_line
from pipeline.errors import InputInvalid
from pipeline.ingest.recipient_mask import mask_recipient
from pipeline.instant import Instant
from pipeline.later import MessageOutcome
from pipeline.lifecycle import attempt_of, state_of
from pipeline.limits import QUERY_PAGE_ROWS_MAX
from pipeline.message import decode_body, group_key

_FILE_MODE: Final = 0o600


class ExportFormat(StrEnum):
    """How an export is written."""

    CSV = "csv"
    JSONL = "jsonl"


class ExportedMessage(msgspec.Struct, frozen=True, kw_only=True):
    """One line.  `changed_at` and what follows: of the newest event, None before the first."""

    id: str
    state: str
    tenant: str
    group: str
    channel: str
    priority: str
    recipient: str
    accepted_at: str
    due_at: str | None
    expires_at: str | None
    changed_at: str | None
    attempt: int | None
    detail: str | None
    metadata: dict[str, str]
    content: str | None  # None: it was not asked for


class ExportReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was written."""

    group: str
    tenant: str
    file: str
    messages: int


COLUMNS: Final = ExportedMessage.__struct_fields__


def exported(
    outcome: MessageOutcome, *, is_content_shown: bool, is_recipient_masked: bool
) -> ExportedMessage:
    """Return what is told of a message."""
    asked = decode_body(outcome.body)
    newest = outcome.newest
    recipient = asked.recipient
    return ExportedMessage(
        id=outcome.id.hex(),
        state=state_of(None if newest is None else newest.step).value,
        tenant=asked.tenant,
        group=asked.group,
        channel=asked.channel,
        priority=asked.priority,
        recipient=mask_recipient(asked.channel, recipient) if is_recipient_masked else recipient,
        accepted_at=shown_instant(outcome.born),
        due_at=_shown(asked.due_at),
        expires_at=_shown(asked.expires_at),
        changed_at=None if newest is None else shown_instant(newest.at),
        attempt=None if newest is None else attempt_of(newest.step),
        detail=None if newest is None else newest.detail,
        metadata=asked.metadata,
        content=asked.content if is_content_shown else None,
    )


def _shown(instant: int | None) -> str | None:
    return None if instant is None else shown_instant(Instant(instant))


class _Writer:
    """Writes lines of one form."""

    def __init__(self, stream: TextIO, form: ExportFormat) -> None:
        self._stream = stream
        self._csv = csv.writer(stream, lineterminator="\n") if form is ExportFormat.CSV else None
        self.count = 0

    def write(self, message: ExportedMessage) -> None:
        if self._csv is None:
            self._stream.write(msgspec.json.encode(message).decode() + "\n")
        else:
            if not self.count:
                self._csv.writerow(COLUMNS)
            cells = msgspec.structs.asdict(message)
            # One cell: a column for each name would differ from file to file.
            cells["metadata"] = json.dumps(message.metadata) if message.metadata else ""
            self._csv.writerow(["" if cell is None else cell for cell in cells.values()])
        self.count += 1


@contextmanager
def _opened(path: Path | None) -> Iterator[TextIO]:
    """Give what is written to; a file has its name only when it is whole."""
    if path is None:
        yield sys.stdout
        return
    # Of two programs that write at once each has one of its own.
    begun = path.with_name(f"{path.name}.{os.getpid()}.begun")
    try:
        _refuse_present(path)
        # It names people, so only its owner may read it.
        descriptor = os.open(begun, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _FILE_MODE)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            _refuse_present(path)
            begun.rename(path)
        except BaseException:
            begun.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise InputInvalid(f"{path}: cannot be written: {error.strerror or error}") from None


def _refuse_present(path: Path) -> None:
    if path.exists():
        raise InputInvalid(f"{path}: is there already; name another file")


async def _outcomes(data: Path | None, key: str) -> AsyncGenerator[MessageOutcome, None]:
    async with open_queries(data) as queries:
        after: bytes | None = None
        while True:
            page, after = await queries.store.outcomes_in_group(
                key, limit=QUERY_PAGE_ROWS_MAX, after=after
            )
            for outcome in page:
                yield outcome
            if after is None:
                return


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command("export")
    def _command(
        group: Annotated[str, typer.Argument(help="The name of the group.")],
        tenant: TenantOption = "default",
        output: Annotated[
            Path | None,
            typer.Option("--output", "-o", help="A new file.", show_default="standard output"),
        ] = None,
        form: Annotated[
            ExportFormat | None,
            typer.Option(
                "--format", help="csv or jsonl.", show_default="as the file's name, or csv"
            ),
        ] = None,
        is_content_shown: Annotated[
            bool, typer.Option("--content", help="With the content.")
        ] = False,
        is_recipient_masked: Annotated[
            bool, typer.Option("--mask", help="Without recipients in full.")
        ] = False,
        data: DataOption = None,
        as_json: Annotated[
            bool, typer.Option("--json", help="Print one JSON document about --output.")
        ] = False,
    ) -> None:
        """Write every message of a group and what became of it, as CSV or JSON lines."""
        if as_json and output is None:
            raise typer.BadParameter("--json tells about a file: give --output, or --format jsonl")
        if form is None:
            told = "" if output is None else output.suffix.lower()
            form = ExportFormat.JSONL if told in (".jsonl", ".ndjson") else ExportFormat.CSV

        async def run(chosen: ExportFormat) -> int:
            # The folder is closed here, not by the end of the loop, which would tell of it.
            async with aclosing(_outcomes(data, group_key(tenant, group))) as outcomes:
                # Nothing is made for a group that is not there.
                first = await anext(outcomes, None)
                if first is None:
                    raise no_such_group(tenant, group)
                with _opened(output) as stream:
                    writer = _Writer(stream, chosen)
                    outcome: MessageOutcome | None = first
                    while outcome is not None:
                        writer.write(
                            exported(
                                outcome,
                                is_content_shown=is_content_shown,
                                is_recipient_masked=is_recipient_masked,
                            )
                        )
                        outcome = await anext(outcomes, None)
                    return writer.count

        count = asyncio.run(run(form))
        if output is None:
            return
        if as_json:
            write_json(ExportReport(group=group, tenant=tenant, file=str(output), messages=count))
        else:
            write_line(f"{count:,} messages written to {output}.")
