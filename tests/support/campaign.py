"""Many messages of one group, sent as their operator does; the outbox is the judge.

What the platform says of itself is used for waiting, and to name the uncertain; what was handed
over, and how often, is read from the files that the connector wrote.
"""

import json
import subprocess
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.support.platform_process import Outbox, begin, eventually, kill_tree, shardpost

CLOSE_TIMEOUT_S = 120.0


class Campaign:
    """The file of a group on the way through the platform of a data folder."""

    def __init__(
        self, data: Path, group: str, count: int, *, priorities: Sequence[str] = ("bulk",)
    ) -> None:
        self.count = count
        self._data, self._group = data, group
        self._outbox = Outbox(data)
        self._lines_before = self._outbox.lines_count()
        self._file = data.parent / f"{group}.csv"
        with self._file.open("w") as file:
            file.write("to,text,priority\n")
            for number in range(count):
                priority = priorities[number % len(priorities)]
                file.write(f"+44770090{number % 1_000:04},message {number} of {group},{priority}\n")
        self._send = ("send", "--channel", "sms", "--group", group, str(self._file))

        self._sending: subprocess.Popen[str] | None = None

    def begin(self) -> None:
        """Begin to send."""
        self._sending = begin(*self._send, "--data", str(self._data))

    def finish(self) -> None:
        """Wait until everything that is being sent is accepted."""
        assert self._sending is not None
        output, errors = self._sending.communicate(timeout=CLOSE_TIMEOUT_S)
        assert self._sending.returncode == 0, (output, errors[-2_000:])

    def break_off(self) -> None:
        """Send no more of it; what is accepted stays so."""
        assert self._sending is not None
        kill_tree(self._sending)

    def send(self) -> None:
        """Send, again or for the first time."""
        sent = shardpost(*self._send, "--data", str(self._data))
        assert sent.returncode == 0, sent.stderr[-2_000:]

    def fraction_out(self) -> float:
        """How much of it is handed over; counts the lines of other groups that come meanwhile."""
        return (self._outbox.lines_count() - self._lines_before) / self.count

    def wait_for_fraction(self, fraction: float) -> None:
        """Wait until so much is handed over; tells if the sending failed meanwhile."""

        def is_out() -> bool:
            if self._sending is not None and self._sending.poll():
                self.finish()
            return self.fraction_out() >= fraction

        eventually(f"{fraction:.0%} of {self._group} is out", is_out, seconds=CLOSE_TIMEOUT_S)

    def wait_until_closed(self) -> dict[str, int]:
        """Wait until each message is sent or uncertain; return how many are in which state."""

        def closed() -> dict[str, int] | None:
            done = self._ask("group", self._group)
            books: dict[str, int] = json.loads(done.stdout)["states"]
            settled = books["sent"] + books["uncertain"]
            return books if settled == self.count else None

        answer: dict[str, int] = eventually(
            f"the books of {self._group} close", closed, seconds=CLOSE_TIMEOUT_S
        )
        return answer

    def lines(self) -> list[dict[str, Any]]:
        """What was handed over of it so far."""
        lines, _ = self._outbox.read()
        return [line for line in lines if line["group"] == self._group]

    def lanes(self) -> Counter[str]:
        """How many of its messages were handed over by which lane."""
        return Counter(
            path.stem
            for path in (self._data / "outbox").rglob("*.jsonl")
            for line in path.read_bytes().split(b"\n")
            if line and self._is_mine(line)
        )

    def uncertain(self) -> list[str]:
        """The ids of those of which nobody knows whether they were handed over."""
        ids: list[str] = []
        more: tuple[str, ...] = ()
        while True:
            page = self._ask(
                *("messages", "--state", "uncertain", "--group", self._group),
                *("--limit", "1000", *more),
            )
            assert page.returncode == 0, page.stderr
            told = json.loads(page.stdout)
            ids += (message["id"] for message in told["messages"])
            if told["after"] is None:
                return ids
            more = ("--after", told["after"])

    def judge(self, *, uncertain_max: int, torn_max: int) -> None:
        """Nothing twice; what is missing is uncertain, and not too much of it."""
        lines, torn = self.lines(), self._outbox.read()[1]
        assert self._outbox.twice() == []
        assert torn <= torn_max
        uncertain = set(self.uncertain())
        assert len(uncertain) <= uncertain_max
        handed_over = {line["message_id"] for line in lines}
        missing = self.count - len(lines)
        print(  # noqa: T201 -- the figures of the run
            f"handed over {len(lines)}, missing {missing}, uncertain {len(uncertain)}"
            f" (of them handed over {len(uncertain & handed_over)}), torn lines {torn}"
        )
        assert missing == len(uncertain - handed_over)
        assert len({line["content"] for line in lines}) == len(lines)
        audit = self._ask("audit")
        assert audit.returncode == 0, (audit.stdout + audit.stderr)[-2_000:]

    def _is_mine(self, line: bytes) -> bool:
        try:
            return bool(json.loads(line)["group"] == self._group)
        except json.JSONDecodeError:
            return False

    def _ask(self, *query: str) -> "subprocess.CompletedProcess[str]":
        return shardpost(*query, "--json", "--data", str(self._data))
