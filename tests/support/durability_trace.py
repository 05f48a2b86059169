"""Reads the system calls of a writer, and finds acknowledgements that came before their sync.

A transaction of SQLite's write-ahead log is a row of frames, each a header of 24 bytes and a page;
the header of its last frame, the commit, says so.  An id is durable once a sync of the log that
began after its commit frame was written has ended.  So for each acknowledged id: a page that holds
it was written, then its commit frame, then a sync began and ended, and only then the
acknowledgement began.  What the program believes of itself is not asked.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

STRACE_OPTIONS: Final = (
    *("-f", "-y", "-xx", "-s", "8192", "--seccomp-bpf"),
    *("-e", "trace=write,pwrite64,fsync,fdatasync"),
)

_FRAME_HEADER_BYTES: Final = 24
_LOG_SUFFIX: Final = "-wal"
_STDOUT: Final = 1

_BEGUN: Final = re.compile(r"(?P<pid>\d+) +(?P<name>\w+)\((?P<rest>.*)")
_RESUMED: Final = re.compile(r"(?P<pid>\d+) +<\.\.\. \w+ resumed>(?P<rest>.*)")
_TARGET: Final = re.compile(r"(?P<descriptor>\d+)<(?P<path>[^>]*)>")
_BYTES: Final = re.compile(r'"(?P<hex>(?:\\x[0-9a-f]{2})*)"')


@dataclass(slots=True)
class Call:
    """A system call; `begun` and `ended` are line numbers, in the order that strace saw."""

    pid: int
    name: str
    descriptor: int
    path: str
    content: bytes
    begun: int
    ended: int | None = None


@dataclass(slots=True)
class _Log:
    """What was written to one log, in order."""

    pages: list[Call] = field(default_factory=list)
    commits: list[Call] = field(default_factory=list)  # the last page of each transaction
    syncs: list[Call] = field(default_factory=list)


def early_acknowledgements(lines: Iterable[str]) -> tuple[int, list[str]]:
    """Return how many ids were acknowledged, and what is wrong with those that were too early."""
    logs: dict[str, _Log] = defaultdict(_Log)
    headers: dict[tuple[int, str], bytes] = {}
    acknowledgements: list[Call] = []
    for call in _calls(lines):
        if call.descriptor == _STDOUT and call.name == "write":
            acknowledgements.append(call)
        elif not call.path.endswith(_LOG_SUFFIX):
            continue
        elif call.name in ("fsync", "fdatasync"):
            logs[call.path].syncs.append(call)
        elif len(call.content) == _FRAME_HEADER_BYTES:
            headers[call.pid, call.path] = call.content
        elif (header := headers.pop((call.pid, call.path), None)) is not None:
            logs[call.path].pages.append(call)
            if any(header[4:8]):
                logs[call.path].commits.append(call)
    wrong: list[str] = []
    count = 0
    for acknowledgement in acknowledgements:
        verb, *said = acknowledgement.content.decode().split()
        for written in said[1:]:
            count += 1
            if (
                fault := _fault(bytes.fromhex(written), acknowledgement, logs.values())
            ) is not None:
                wrong.append(f"line {acknowledgement.begun + 1}: {verb} {written}: {fault}")
    return count, wrong


def _fault(written: bytes, acknowledgement: Call, logs: Iterable[_Log]) -> str | None:
    for log in logs:
        page = next((page for page in log.pages if written in page.content), None)
        if page is None:
            continue
        commit = next((commit for commit in log.commits if commit.begun >= page.begun), None)
        if commit is None or commit.ended is None:
            return "its transaction was never committed"
        for sync in log.syncs:
            if sync.begun > commit.ended and sync.ended is not None:
                if sync.ended < acknowledgement.begun:
                    return None
                break
        return "acknowledged before the sync that covers it"
    return "never written to a log"


def _calls(lines: Iterable[str]) -> Iterator[Call]:
    """Return the calls in the order of their beginning."""
    calls: list[Call] = []
    unfinished: dict[int, Call] = {}
    for number, line in enumerate(lines):
        if (match := _RESUMED.match(line)) is not None:
            unfinished.pop(int(match["pid"])).ended = _end_of(match["rest"], number)
            continue
        if (match := _BEGUN.match(line)) is None or (
            target := _TARGET.match(match["rest"])
        ) is None:
            continue  # a signal, or the end of a thread
        content = _BYTES.search(match["rest"])
        call = Call(
            pid=int(match["pid"]),
            name=match["name"],
            descriptor=int(target["descriptor"]),
            path=_unescaped(target["path"]).decode(errors="replace"),
            content=_unescaped(content["hex"]) if content is not None else b"",
            begun=number,
        )
        calls.append(call)
        if match["rest"].endswith("<unfinished ...>"):
            unfinished[call.pid] = call
        else:
            call.ended = _end_of(match["rest"], number)
    return iter(calls)


def _end_of(rest: str, number: int) -> int | None:
    """Return when the call ended, None if it failed: then it did nothing that counts."""
    return None if re.search(r"= -\d", rest) else number


def _unescaped(text: str) -> bytes:
    if not text.startswith("\\x"):
        return text.encode()
    return bytes.fromhex(text.replace("\\x", ""))
