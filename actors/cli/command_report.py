"""What became of a command, told message by message or lane by lane."""

from collections.abc import Sequence
from typing import Final

import msgspec
import typer

from actors.cli.exit_codes import ExitCode
from actors.cli.output import write_json, write_line, write_table
from pipeline.command import Verdict
from pipeline.limits import MESSAGES_SHOWN, QUERY_PAGE_ROWS_MAX

RECORDED: Final = "recorded"  # no answer so far
UNKNOWN: Final = "unknown"


class MessageAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to one message's command."""

    id: str
    verdict: str  # done, too_late, refused, recorded or unknown
    detail: str


class CommandReport(msgspec.Struct, kw_only=True):
    """All answers; `messages` are all of them if they are few, else those that were not done."""

    command: str
    is_running: bool
    is_dry_run: bool = False
    asked: int = 0
    done: int = 0
    too_late: int = 0
    refused: int = 0
    recorded: int = 0
    unknown: int = 0
    messages: list[MessageAnswer] = []

    def add(self, answers: Sequence[MessageAnswer]) -> None:
        """Count answers, and keep those that a person wants to see."""
        self.asked += len(answers)
        for one in answers:
            setattr(self, one.verdict, getattr(self, one.verdict) + 1)
        self.messages += answers
        if len(self.messages) > MESSAGES_SHOWN:
            not_done = [one for one in self.messages if one.verdict != Verdict.DONE]
            self.messages = not_done[:QUERY_PAGE_ROWS_MAX]


class LaneAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of one lane to a group's command."""

    lane: str
    verdict: str
    detail: str
    messages: int | None


class GroupCommandReport(msgspec.Struct, frozen=True, kw_only=True):
    """All lanes."""

    command: str
    group: str
    tenant: str
    is_running: bool
    is_dry_run: bool
    messages_open: int | None  # counted by a dry run
    lanes: list[LaneAnswer]


def tell_messages(report: CommandReport, *, as_json: bool, is_waited_for: bool) -> None:
    """Write the report, and end with the code that says the same."""
    if as_json:
        write_json(report)
    elif report.is_dry_run:
        write_line(f"{report.command}: {report.asked:,} messages would be asked for.")
    else:
        _show_messages(report)
    if report.is_dry_run:
        return
    if report.recorded and is_waited_for and report.is_running:
        raise typer.Exit(ExitCode.UNANSWERED)
    if report.too_late or report.refused or report.unknown:
        raise typer.Exit(ExitCode.NOT_DONE)


def _show_messages(report: CommandReport) -> None:
    counts = {
        "done": report.done,
        "too late": report.too_late,
        "refused": report.refused,
        "recorded": report.recorded,
        "not known": report.unknown,
    }
    told = ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)
    write_line(f"{report.command}: {told or 'no messages'}")
    shown = [one for one in report.messages if one.verdict != Verdict.DONE or one.detail]
    if shown:
        write_table(
            ("id", "answer", "why"),
            [(one.id, one.verdict.replace("_", " "), one.detail) for one in shown],
        )
    if report.recorded:
        write_line(_about_recorded(is_running=report.is_running))


def tell_group(report: GroupCommandReport, *, as_json: bool, is_waited_for: bool) -> None:
    """Write the report, and end with the code that says the same."""
    open_count = sum(one.verdict == RECORDED for one in report.lanes)
    refused = [one for one in report.lanes if one.verdict == Verdict.REFUSED]
    if as_json:
        write_json(report)
    elif report.is_dry_run:
        write_line(
            f"{report.command}: the group {report.group} has {report.messages_open:,} messages"
            f" without an end, in {len(report.lanes)} lanes."
        )
    else:
        done = len(report.lanes) - open_count - len(refused)
        count = sum(one.messages or 0 for one in report.lanes)
        ruled = f"; it changed {count:,} messages" if count else ""
        write_line(f"{report.command}: {done} of {len(report.lanes)} lanes answered{ruled}.")
        if refused:
            write_table(("lane", "why"), [(one.lane, one.detail) for one in refused])
        if open_count or not report.is_running:
            write_line(_about_recorded(is_running=report.is_running))
    if report.is_dry_run:
        return
    if open_count and is_waited_for and report.is_running:
        raise typer.Exit(ExitCode.UNANSWERED)
    if refused:
        raise typer.Exit(ExitCode.NOT_DONE)


def _about_recorded(*, is_running: bool) -> str:
    if is_running:
        return "What is recorded is carried out as soon as its lane comes by; `trace` shows it."
    return "No platform runs: what is recorded is carried out when one does (`shardpost up`)."
