"""`shardpost audit`: the proof that every message is where the platform says it is."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer

from actors.cli.audit.core_audit import CoreAccount, CoreAudit
from actors.cli.audit.findings import MEANINGS, Finding, FindingKind, Findings
from actors.cli.audit.line_order import compare_order
from actors.cli.audit.look import Look
from actors.cli.audit.outbox import FileConnectors, compare_lines
from actors.cli.audit.outbox_files import outbox_files, read_lines
from actors.cli.audit.timeline_verdict import TimelineVerdict
from actors.cli.exit_codes import ExitCode
from actors.cli.open_queries import OpenQueries, open_queries
from actors.cli.options import DataOption, JsonOption
from actors.cli.output import Cell, write_fields, write_json, write_line, write_table
from cluster.runtime.clock import SystemClock
from cluster.runtime.connector_settings import ConnectorKind
from cluster.runtime.settings import Settings
from cluster.topology.generation import Core
from pipeline.errors import InputInvalid, StoreUnavailable
from pipeline.instant import DurationMs, Instant, earlier
from pipeline.message import MessageId
from pipeline.outcome import ProviderClass

_OUTBOX: Final = "outbox"

VerdictsOf = Callable[[Sequence[MessageId]], list[TimelineVerdict | None]]


class AuditReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was looked at, and what was found."""

    data: str
    is_running: bool
    messages: int
    without_event: int
    rows: int  # of the buffers
    timers: int
    entries: int  # of the journals
    books: int
    lines: int | None  # of the outbox; None: it was not compared
    lines_torn: int
    too_old: int  # messages past their time to live, which are not judged
    books_too_old: int
    lines_too_old: int
    findings_count: int
    findings_by_kind: dict[str, int]
    findings: list[Finding]  # the first ones of each kind


class Audit:
    """Looks at one core after the other."""

    def __init__(self, queries: OpenQueries, *, outbox: Sequence[Path], now: Instant) -> None:
        self._queries = queries
        self._generation = queries.generation
        self._is_running = queries.platform() is not None
        self._now = now
        self._findings = Findings()
        self._files = outbox_files(outbox, self._generation, self._findings) if outbox else None
        self._accounts: list[CoreAccount] = []
        self._lines = self._lines_torn = self._lines_too_old = 0

    async def run(self) -> AuditReport:
        """Judge every core; raises `DataFolderUnusable` if the outbox cannot be read."""
        for core in self._generation.cores:
            try:
                async with self._queries.viewing(core) as look:
                    self._judge(core, look)
            except StoreUnavailable as error:
                self._findings.add(
                    FindingKind.FILE_UNREADABLE, where=_name(core), detail=str(error)
                )
        return self._report()

    def _judge(self, core: Core, look: Look) -> None:
        with look() as view:
            if view is None:
                # Nothing was ever written to it, so its lanes have no lines either.
                self._judge_lines_of_nothing(core)
                return
            findings = self._findings
            audit = CoreAudit(
                core,
                view,
                generation=self._generation,
                windows=self._queries.settings.windows,
                now=self._now,
                unasked=_unasked(self._queries.settings),
                findings=findings,
            )
            account = audit.run()
            self._accounts.append(account)
            if self._files is None:
                return
            lines = read_lines(self._files[core], findings)
            self._lines += lines.count
            self._lines_torn += lines.torn
            self._lines_too_old += compare_lines(
                lines,
                view,
                account.named,
                where=_name(core),
                second_look=((lambda: self._second_look(core, look)) if self._is_running else None),
                is_memory_whole=self._generation.starts_at
                >= earlier(self._now, self._queries.settings.windows.timeline_ttl_ms),
                by_file=_file_connectors(self._queries.settings),
                findings=findings,
            )
            compare_order(
                lines,
                view,
                audit.verdicts,
                prompt_ms=DurationMs(self._generation.prompt_ms),
                where=_name(core),
                findings=findings,
            )

    def _judge_lines_of_nothing(self, core: Core) -> None:
        if self._files is None:
            return
        for path in self._files[core]:
            self._findings.add(
                FindingKind.LINE_UNKNOWN,
                where=str(path),
                detail=f"nothing was ever stored on {_name(core)}",
            )

    @contextmanager
    def _second_look(self, core: Core, look: Look) -> Iterator[VerdictsOf]:
        with look() as view:
            assert view is not None, core
            audit = CoreAudit(
                core,
                view,
                generation=self._generation,
                windows=self._queries.settings.windows,
                now=self._now,
                unasked=_unasked(self._queries.settings),
                findings=Findings(),
            )
            audit.read_journals({})
            yield audit.verdicts

    def _report(self) -> AuditReport:
        accounts, findings = self._accounts, self._findings
        return AuditReport(
            data=str(self._queries.path),
            is_running=self._is_running,
            messages=sum(account.messages for account in accounts),
            without_event=sum(account.without_event for account in accounts),
            rows=sum(account.rows for account in accounts),
            timers=sum(account.timers for account in accounts),
            entries=sum(account.entries for account in accounts),
            books=sum(account.books for account in accounts),
            lines=None if self._files is None else self._lines,
            lines_torn=self._lines_torn,
            too_old=sum(account.too_old for account in accounts),
            books_too_old=sum(account.books_too_old for account in accounts),
            lines_too_old=self._lines_too_old,
            findings_count=findings.total,
            findings_by_kind={kind.value: count for kind, count in findings.counts.items()},
            findings=findings.kept,
        )


def show_audit(report: AuditReport) -> None:
    """Write the report for a person."""
    if report.is_running:
        write_line("The platform runs: each core is judged as it stood when its reading began.")
        write_line()
    fields: dict[str, Cell] = {
        "messages": report.messages,
        "without an event": report.without_event,
        "rows of buffers": report.rows,
        "timers": report.timers,
        "journal entries": report.entries,
        "books": report.books,
        "outbox lines": "not compared" if report.lines is None else report.lines,
    }
    for name, count in (
        ("torn lines", report.lines_torn),
        ("too old to judge", report.too_old),
        ("books too old", report.books_too_old),
        ("lines too old", report.lines_too_old),
    ):
        if count:
            fields[name] = count
    write_fields(fields)
    write_line()
    if not report.findings_count:
        write_line("Nothing was found: everything is where the platform says it is.")
        return
    for kind, count in report.findings_by_kind.items():
        write_line(f"{kind} ({count:,}): {MEANINGS[FindingKind(kind)]}")
    write_line()
    write_table(
        ("finding", "where", "message", "detail"),
        [(one.kind.value, one.where, one.id, one.detail) for one in report.findings],
    )
    if len(report.findings) < report.findings_count:
        write_line()
        write_line(f"{report.findings_count - len(report.findings):,} more are not listed.")


def _outbox_of(folder: Path, asked: Sequence[Path], *, is_compared: bool) -> Sequence[Path]:
    """Return the folders with lines; none if they are not to be compared."""
    if not is_compared:
        return []
    for place in asked:
        if not place.is_dir():
            raise InputInvalid(
                f"--outbox {place}: there is no such folder; name the one with the lines"
            )
    if asked:
        return asked
    # If there is none, nothing was handed over to a file so far.
    return [place for place in (folder / _OUTBOX,) if place.is_dir()]


def _file_connectors(settings: Settings) -> FileConnectors:
    names = frozenset(
        name for name, one in settings.connectors.items() if one.kind is ConnectorKind.FILE
    )
    return FileConnectors(names, are_all=len(names) == len(settings.connectors))


def _unasked(settings: Settings) -> frozenset[str]:
    """Return the connectors of whose messages none stays claimed because its provider is asked."""
    asked = (ProviderClass.KEYED, ProviderClass.QUERYABLE)
    return frozenset(
        name
        for name, one in settings.connectors.items()
        if getattr(one, "provider_class", ProviderClass.NONE) not in asked
    )


def _name(core: Core) -> str:
    return f"{core.node}/{core.shard}"


async def _audit(data: Path | None, *, outbox: Sequence[Path], is_compared: bool) -> AuditReport:
    async with open_queries(data) as queries:
        return await Audit(
            queries,
            outbox=_outbox_of(queries.path, outbox, is_compared=is_compared),
            now=SystemClock().now(),
        ).run()


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command("audit")
    def _command(
        outbox: Annotated[
            list[Path] | None,
            typer.Option(
                metavar="PATH",
                help="The lines of the file connector; repeatable, for lines that were taken away.",
                show_default="the outbox of the data folder",
            ),
        ] = None,
        is_skipped: Annotated[
            bool, typer.Option("--no-outbox", help="Look at the store alone.")
        ] = False,
        data: DataOption = None,
        as_json: JsonOption = False,
    ) -> None:
        """Prove that every message is where the platform says it is, or list what is not."""
        report = asyncio.run(_audit(data, outbox=outbox or [], is_compared=not is_skipped))
        if as_json:
            write_json(report)
        else:
            show_audit(report)
        if report.findings_count:
            raise typer.Exit(ExitCode.FINDINGS)
