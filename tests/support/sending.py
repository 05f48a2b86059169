"""Somebody who sends a group through one channel, and asks the books how it goes."""

import json
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.support.platform_process import begin, kill_tree, shardpost

WORK_TIMEOUT_S = 300.0
# Of each channel the protocol of its provider, and its recipients.
_CHANNELS = {
    "sms": ("http", "+44770090{:04}"),
    "email": ("smtp", "reader{}@example.org"),
}


class Sending:
    """A group of one channel on its way; it has the channel's name."""

    def __init__(self, data: Path, *, channel: str, count: int) -> None:
        self.channel, self.count = channel, count
        self.data = data
        self.protocol, recipient = _CHANNELS[channel]
        file = data.parent / f"{channel}.csv"
        lines = [f"{recipient.format(n % 1_000)},message {n}\n" for n in range(count)]
        file.write_text("to,text\n" + "".join(lines))
        self._words = ("send", "--channel", channel, "--group", channel, str(file))
        self._process = begin(*self._words, "--data", str(data))

    def check_it_goes_on(self) -> None:
        """Fail if the sending ended with an error."""
        if self._process.poll():
            _, errors = self._process.communicate()
            raise AssertionError(f"the sending ended: {errors[-2_000:]}")

    def finish(self) -> None:
        """Wait for the end of the sending, and send again if a fault broke it off."""
        try:
            with suppress(subprocess.TimeoutExpired):
                self._process.communicate(timeout=WORK_TIMEOUT_S)
        finally:
            kill_tree(self._process)
        sent = shardpost(*self._words, "--data", str(self.data))
        assert sent.returncode == 0, sent.stderr[-2_000:]

    def books(self) -> Any:
        """Return what the books say of the group."""
        answer = shardpost("group", self.channel, "--json", "--data", str(self.data))
        assert answer.returncode == 0, answer.stderr[-2_000:]
        return json.loads(answer.stdout)

    def counts(self) -> dict[str, int]:
        """Return how many are in which state, by the books."""
        counts: dict[str, int] = self.books()["states"]
        return counts
