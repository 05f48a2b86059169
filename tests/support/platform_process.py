"""A platform as its operator runs it: `shardpost up` as a process, and the means to hurt it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

SHARDPOST = [str(Path(sys.executable).with_name("shardpost"))]
START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 60.0
ROOT = Path(__file__).resolve().parents[2]


# What developers set for themselves and operators do not: it costs each process half of its start.
_DEVELOPERS = ("PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED")


def environment(**variables: str) -> dict[str, str]:
    """The environment of an operator: that of the tests without Ray's and Shardpost's variables."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("RAY_", "SHARDPOST_")) and name not in _DEVELOPERS
    }
    return kept | variables


def shardpost(
    *arguments: str, piped: str | None = None, **variables: str
) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end; `piped` comes through its standard input."""
    return subprocess.run(
        [*SHARDPOST, *arguments],
        cwd=ROOT,
        env=environment(**variables),
        input=piped,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def begin(*arguments: str, stdin: int | None = None, **variables: str) -> "subprocess.Popen[str]":
    """Start a command as a job of its own, as a shell does, and go on."""
    return subprocess.Popen(
        [*SHARDPOST, *arguments],
        cwd=ROOT,
        env=environment(**variables),
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def press_ctrl_c(job: "subprocess.Popen[str]") -> None:
    """Do what a terminal does: send SIGINT to every process of the job."""
    os.killpg(job.pid, signal.SIGINT)


def eventually(what: str, look: Callable[[], Any], *, seconds: float, every_s: float = 0.02) -> Any:
    """Return the first answer of `look` that is true; fail after a while.

    A look that costs something is worth a longer `every_s`: it takes its time from what it is at.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if answer := look():
            return answer
        time.sleep(every_s)
    raise AssertionError(f"not within {seconds:.0f} s: {what}")


def processes() -> dict[int, tuple[int, str]]:
    """Every process: pid -> (parent, title)."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
                title = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            fields = stat.rpartition(")")[2].split()
            if fields[0] != "Z":
                found[int(entry.name)] = (int(fields[1]), title)
    return found


def descendants_of(pid: int) -> dict[int, str]:
    """Every process below this one: pid -> title."""
    everything = processes()
    below = {pid}
    while more := {one for one, (parent, _) in everything.items() if parent in below} - below:
        below |= more
    return {one: everything[one][1] for one in below if one in everything and one != pid}


def kill_tree(job: "subprocess.Popen[str]") -> None:
    """SIGKILL to a job and to all below it; one that has ended is left alone."""
    pids = [*descendants_of(job.pid), job.pid] if job.poll() is None else []
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    job.wait()
    for stream in (job.stdin, job.stdout, job.stderr):
        if stream is not None:
            stream.close()
    eventually("all are gone", lambda: not set(pids) & processes().keys(), seconds=30)


class PlatformProcess:
    """`shardpost up` on a folder; a context manager that stops whatever is left."""

    def __init__(self, data: Path, variables: Mapping[str, str], *arguments: str) -> None:
        self.data = data
        self._arguments = arguments
        self._variables = dict(variables)
        self._process: subprocess.Popen[str] | None = None
        self._log = data.parent / f"{data.name}.log"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.kill_all()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> dict[str, Any]:
        """Start and wait until it says that it is ready; return what it says."""
        with self._log.open("a") as log:
            self._process = subprocess.Popen(
                [*SHARDPOST, "up", "--json", "--data", str(self.data), *self._arguments],
                cwd=ROOT,
                env=environment(**self._variables),
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self.kill_all()
        assert line, f"the platform did not start: {self._log.read_text()[-2_000:]}"
        told: dict[str, Any] = json.loads(line)
        return told

    def stop(self, by: signal.Signals = signal.SIGINT) -> None:
        """Ask it to drain, as Ctrl-C does or a supervisor by SIGTERM, and wait for its end."""
        assert self._process is not None
        if by == signal.SIGINT:
            press_ctrl_c(self._process)
        else:
            self._process.send_signal(by)
        assert self._process.wait(STOP_TIMEOUT_S) == 0, self._log.read_text()[-2_000:]
        self._forget()

    def descendants(self) -> dict[int, str]:
        """Every process below it: pid -> title."""
        return descendants_of(self.pid)

    def actors(self, kind: str) -> list[int]:
        """The processes of one kind of actor: Scheduler, Ingester or Registry."""
        return sorted(
            pid
            for pid, title in self.descendants().items()
            if title.startswith(f"ray::{kind}Actor")
        )

    def kill_all(self) -> None:
        """SIGKILL to the whole tree at once."""
        if self._process is None:
            return
        kill_tree(self._process)
        self._forget()

    def _forget(self) -> None:
        assert self._process is not None
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._process = None


class Outbox:
    """What the file connector wrote, read as another program would: the judge."""

    def __init__(self, data: Path) -> None:
        self._folder = data / "outbox"
        self._offsets: dict[Path, int] = {}
        self._lines_count = 0

    def lines_count(self) -> int:
        """How many lines have an end; reads only what is new."""
        for path in self._folder.rglob("*.jsonl"):
            with path.open("rb") as file:
                file.seek(self._offsets.get(path, 0))
                data = file.read()
            self._offsets[path] = self._offsets.get(path, 0) + len(data)
            self._lines_count += data.count(b"\n")
        return self._lines_count

    def read(self) -> tuple[list[dict[str, Any]], int]:
        """Return the hand-overs, and how many torn lines there are."""
        lines, torn = [], 0
        for path in self._folder.rglob("*.jsonl"):
            for line in path.read_bytes().split(b"\n"):
                if line:
                    try:
                        lines.append(json.loads(line))
                    except json.JSONDecodeError:
                        torn += 1
        return lines, torn

    def twice(self) -> list[str]:
        """The ids of the messages that were handed over more than once."""
        lines, _ = self.read()
        counts = Counter(line["message_id"] for line in lines)
        return [id_ for id_, count in counts.items() if count > 1]
