"""How far a sending came: a bar on a terminal, a plain line every few seconds elsewhere."""

from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from actors.cli.sending import SendAccount

_PLAIN_LINE_S: Final = 2.0


class _Rate(ProgressColumn):
    """Messages a second since the start."""

    def render(self, task: Task) -> Text:
        messages = task.fields["messages"]
        elapsed = task.elapsed or 0
        return Text(f"{messages:,} messages, {messages / elapsed if elapsed else 0:,.0f}/s")


class SendProgress:
    """Shows a `SendAccount` as it grows; the bar is the part of the file's bytes that is done."""

    def __init__(
        self, console: Console, *, size_bytes: int | None, seconds: Callable[[], float]
    ) -> None:
        self._console = console
        self._size_bytes = size_bytes
        self._seconds = seconds
        self._begun = seconds()
        self._said = self._begun
        self._bar: Progress | None = None
        self._task = TaskID(0)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._bar = Progress(
                TextColumn("sending"),
                BarColumn(),
                TextColumn("{task.percentage:>3.0f}%"),
                _Rate(),
                TextColumn("ETA"),
                TimeRemainingColumn(),
                console=self._console,
                transient=True,
            )
            self._task = self._bar.add_task("send", total=self._size_bytes, messages=0)
            self._bar.start()
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def show(self, account: SendAccount) -> None:
        """Show how far it came; called at each answer."""
        if self._bar is not None:
            self._bar.update(
                self._task, completed=account.bytes_read, messages=account.accepted_count
            )
            return
        now = self._seconds()
        if now - self._said < _PLAIN_LINE_S:
            return
        self._said = now
        rate = account.records_count / (now - self._begun)
        line = f"{account.records_count:,} records, {rate:,.0f}/s"
        if self._size_bytes:
            done = account.bytes_read / self._size_bytes
            left_s = (now - self._begun) * (1 - done) / done if done else 0
            line += f", {done:.0%}, {left_s:,.0f} s left"
        self._console.print(line, highlight=False)
