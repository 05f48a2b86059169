"""Somebody who sends files through a running platform, and looks into the outbox afterwards."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.platform_process import Outbox, eventually, shardpost

OUT_WITHIN_S = 60.0


@dataclass(frozen=True)
class Office:
    """The data folder of the platform, and what is done with it."""

    data: Path

    def run(
        self, *arguments: str | Path, piped: str | None = None
    ) -> "subprocess.CompletedProcess[str]":
        return shardpost(*map(str, arguments), "--data", str(self.data), piped=piped)

    def asked(self, *arguments: str | Path, exit_code: int = 0, piped: str | None = None) -> Any:
        """The document that a command prints with --json."""
        done = self.run(*arguments, "--json", piped=piped)
        assert done.returncode == exit_code, (done.returncode, done.stdout, done.stderr)
        assert done.stdout.count("\n") == 1, done.stdout
        return json.loads(done.stdout)

    def refused(self, *arguments: str | Path, exit_code: int, piped: str | None = None) -> str:
        """The one line with which a command refuses, all that it says."""
        return told_in_one_line(self.run(*arguments, piped=piped), exit_code=exit_code)

    def lines(self, group: str) -> list[dict[str, Any]]:
        """What was handed over so far of a group."""
        lines, torn = Outbox(self.data).read()
        assert torn == 0
        return [line for line in lines if line["group"] == group]

    def handed_over(self, group: str, count: int) -> list[dict[str, Any]]:
        """All that is handed over of a group, once it is `count` and its books say so."""
        eventually(
            f"{count} of {group} are out",
            lambda: len(self.lines(group)) >= count,
            seconds=OUT_WITHIN_S,
        )
        eventually(
            f"the books of {group} close",
            lambda: self._sent_by_closed_books(group) == count,
            seconds=OUT_WITHIN_S,
        )
        lines = self.lines(group)
        assert len(lines) == len({line["message_id"] for line in lines}) == count
        return lines

    def _sent_by_closed_books(self, group: str) -> int | None:
        books = self.asked("group", group)
        return int(books["states"]["sent"]) if books["closes"] is True else None

    def knows_nothing_of(self, group: str) -> bool:
        """Whether no message of the group was ever accepted."""
        return self.run("group", group).returncode == 11 and not self.lines(group)

    def check(self) -> None:
        """Nothing twice, nothing lost, nothing in two states."""
        assert Outbox(self.data).twice() == []
        assert self.asked("audit")["findings_count"] == 0


def told_in_one_line(done: "subprocess.CompletedProcess[str]", *, exit_code: int) -> str:
    assert done.returncode == exit_code, (done.returncode, done.stdout, done.stderr)
    assert done.stdout == ""
    assert done.stderr.startswith("shardpost")
    assert done.stderr.count("\n") == 1, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr
