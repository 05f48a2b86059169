"""The CPU time of a command with every process that it leaves behind.

    python -m benchmarks.process_tree [--settle SECONDS] -- COMMAND...

A parent that waits for a child inherits the child's CPU time; so the sum over the children that
*this* process waits for holds every process that was waited for anywhere below.  Two kinds are not
in it, and Ray has both:

- Orphans (`ray start` leaves daemons behind).  The measuring process makes itself their reaper
  (PR_SET_CHILD_SUBREAPER): an orphan becomes its child, and is waited for at the end.
- Children of a parent that ignores SIGCHLD: the kernel drops their CPU time with them.  Ray's
  raylet does so, and it is the parent of every worker.  They are looked at every
  `SAMPLE_INTERVAL_S`; one that vanishes counts with what it had when it was last seen, so each
  such death loses at most one interval of its time.  `sampled_s` says how much of the sum came so.

What escapes: such a child that lived between two looks; one whose parent asked for the same with
SA_NOCLDWAIT, which cannot be seen from outside; what another service did on the command's behalf
(a container engine, systemd); and the kernel's own threads.

While a tree is measured its process must start no other children: they would count as the tree's.
"""

import argparse
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, NamedTuple, Self

from benchmarks.result import print_result

SAMPLE_INTERVAL_S: Final = 0.2
SETTLE_S: Final = 15.0

_PR_SET_CHILD_SUBREAPER: Final = 36
_TICK_S: Final = 1 / os.sysconf("SC_CLK_TCK")
_SIGCHLD_BIT: Final = 1 << (signal.SIGCHLD - 1)
_END_PATIENCE_S: Final = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeUsage:
    """What a whole tree used."""

    exit_code: int  # the command's; negative: the signal that ended it
    wall_s: float  # until the command ended, not what it left behind
    user_s: float
    system_s: float
    sampled_s: float  # of processes that nobody waited for, user and system together
    sampled_count: int  # how many they were
    killed_count: int  # how many had to be ended after the command and its settling time

    @property
    def cpu_s(self) -> float:
        """Return all of it."""
        return self.user_s + self.system_s + self.sampled_s


class _Seen(NamedTuple):
    """A living process, as /proc shows it."""

    parent: int
    cpu_s: float  # its own, and that of the children it waited for
    is_dropped: bool  # its parent ignores SIGCHLD


class _Identity(NamedTuple):
    """Pids come again; with the time of its start a process is unique."""

    pid: int
    started: str


class ProcessTree:
    """A running command and everything below it.  Linux only; one at a time in a process."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process
        self._began = time.monotonic()
        self._ended: float | None = None
        self._exit_code: int | None = None
        self._user_s = self._system_s = 0.0
        self._living: dict[_Identity, _Seen] = {}
        self._dropped: dict[_Identity, float] = {}
        self._killed_count = 0
        self._lock = threading.Lock()
        self._is_over = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="process-tree", daemon=True)

    @classmethod
    def start(
        cls,
        command: Sequence[str],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        stdin: int | None = subprocess.DEVNULL,
        stdout: int | IO[bytes] | None = None,
        stderr: int | IO[bytes] | None = None,
    ) -> Self:
        """Start the command, with the arguments of `subprocess.Popen`."""
        if sys.platform != "linux":
            raise RuntimeError("only Linux tells the CPU time of a whole tree of processes")
        _adopt_orphans(True)
        tree = cls(
            subprocess.Popen(command, cwd=cwd, env=env, stdin=stdin, stdout=stdout, stderr=stderr)
        )
        tree._watcher.start()
        return tree

    @property
    def pid(self) -> int:
        """Return the command's process id."""
        return self._process.pid

    @property
    def stdout(self) -> IO[bytes] | None:
        """Return the command's output, if it was asked for as a pipe."""
        return self._process.stdout

    @property
    def is_running(self) -> bool:
        """Return whether the command itself still runs."""
        return self._exit_code is None

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to the command, not to what is below it."""
        with self._lock:
            if self._exit_code is None:
                os.kill(self._process.pid, number)

    def cpu_s(self) -> float:
        """Return what the tree has used so far: two calls tell what happened between them."""
        with self._lock:
            self._look()
            return self._cpu_s()

    def finish(self, *, settle_s: float = SETTLE_S, time_limit_s: float | None = None) -> TreeUsage:
        """Wait for the command, then `settle_s` for what it left behind; end what is still there.

        Past `time_limit_s` the command is ended, too.
        """
        deadline = None if time_limit_s is None else time.monotonic() + time_limit_s
        while self._exit_code is None:
            if deadline is not None and time.monotonic() > deadline:
                self._end_all()
                break
            time.sleep(0.02)
        settled = time.monotonic() + settle_s
        while self._living and time.monotonic() < settled:
            time.sleep(0.02)
        if self._living:
            self._end_all()
        self._is_over.set()
        self._watcher.join()
        with self._lock:
            self._look()
        _adopt_orphans(False)
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()
        assert self._exit_code is not None
        assert self._ended is not None
        return TreeUsage(
            exit_code=self._exit_code,
            wall_s=self._ended - self._began,
            user_s=self._user_s,
            system_s=self._system_s,
            sampled_s=sum(self._dropped.values()),
            sampled_count=len(self._dropped),
            killed_count=self._killed_count,
        )

    def _watch(self) -> None:
        while not self._is_over.wait(
            SAMPLE_INTERVAL_S if self.is_running else SAMPLE_INTERVAL_S / 2
        ):
            with self._lock:
                self._look()

    def _look(self) -> None:
        """Look at what is there, then wait for what is dead, in this order.

        What was there and is gone without our having waited for it was waited for by its parent, or
        dropped.
        """
        now_living = _descendants_of(os.getpid())
        reaped = self._reap()
        for identity, seen in self._living.items():
            if identity not in now_living and identity.pid not in reaped and seen.is_dropped:
                self._dropped[identity] = seen.cpu_s
        for identity in [identity for identity in self._dropped if identity.pid in reaped]:
            del self._dropped[identity]  # the kernel showed it late
        self._living = {
            identity: seen for identity, seen in now_living.items() if identity.pid not in reaped
        }

    def _reap(self) -> set[int]:
        reaped: set[int] = set()
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return reaped
            if pid == 0:
                return reaped
            reaped.add(pid)
            self._user_s += usage.ru_utime
            self._system_s += usage.ru_stime
            if pid == self._process.pid:
                self._exit_code = os.waitstatus_to_exitcode(status)
                # Popen would wait for it once more.
                self._process.returncode = self._exit_code
                self._ended = time.monotonic()

    def _cpu_s(self) -> float:
        return (
            self._user_s
            + self._system_s
            + sum(self._dropped.values())
            + sum(seen.cpu_s for seen in self._living.values())
        )

    def _end_all(self) -> None:
        """End what is below this process, politely first."""
        with self._lock:
            self._look()
            self._killed_count = len(self._living)
        for number in (signal.SIGTERM, signal.SIGKILL):
            patience = time.monotonic() + _END_PATIENCE_S
            while time.monotonic() < patience:
                with self._lock:
                    self._look()
                    for identity in self._living:
                        try:
                            os.kill(identity.pid, number)
                        except ProcessLookupError:
                            continue
                if not self._living:
                    return
                time.sleep(0.1)


def _adopt_orphans(do_adopt: bool) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, int(do_adopt), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def _descendants_of(root: int) -> dict[_Identity, _Seen]:
    """Return the processes below `root`, those that are dead and not yet waited for among them."""
    stats: dict[int, tuple[_Identity, int, float]] = {}
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            stat = Path("/proc", entry, "stat").read_text(errors="replace")
        except OSError:
            continue  # it is gone
        # The name stands in parentheses and may hold anything.
        fields = stat[stat.rindex(")") + 2 :].split()
        pid, parent = int(entry), int(fields[1])
        cpu_s = sum(map(int, fields[11:15])) * _TICK_S
        stats[pid] = (_Identity(pid, fields[19]), parent, cpu_s)
        children.setdefault(parent, []).append(pid)
    below: dict[_Identity, _Seen] = {}
    parents = [root]
    while parents:
        parent = parents.pop()
        pids = children.get(parent, ())
        drops_children = bool(pids) and parent != root and _ignores_sigchld(parent)
        for pid in pids:
            identity, _, cpu_s = stats[pid]
            below[identity] = _Seen(parent=parent, cpu_s=cpu_s, is_dropped=drops_children)
            parents.append(pid)
    return below


def _ignores_sigchld(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/status").read_text(errors="replace")
    except OSError:
        return False
    for line in status.splitlines():
        if line.startswith("SigIgn:"):
            return bool(int(line.split()[1], 16) & _SIGCHLD_BIT)
    return False


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure a command and print the result; return the command's exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.process_tree")
    parser.add_argument("--settle", type=float, default=SETTLE_S, help="seconds for what is left")
    parser.add_argument("command", nargs="+")
    options = parser.parse_args(arguments)
    usage = ProcessTree.start(options.command, stdin=None).finish(settle_s=options.settle)
    print_result(
        "process_tree",
        {
            "command": " ".join(options.command),
            "exit_code": usage.exit_code,
            "wall_s": round(usage.wall_s, 3),
            "cpu_s": round(usage.cpu_s, 3),
            "user_s": round(usage.user_s, 3),
            "system_s": round(usage.system_s, 3),
            "sampled_s": round(usage.sampled_s, 3),
            "sampled_count": usage.sampled_count,
            "killed_count": usage.killed_count,
        },
    )
    return usage.exit_code


if __name__ == "__main__":
    sys.exit(main())
