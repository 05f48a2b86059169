"""The sum over a tree against processes that each burn a known amount of CPU time.

How long that takes by the wall is the machine's business: whoever must be outlived, seen or ended
is waited for.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from benchmarks.process_tree import ProcessTree, TreeUsage

# process_time counts from the start of the process, so the interpreter's own start is inside.
BURN = """
import os, signal, subprocess, sys, time
def burn(seconds):
    while time.process_time() < seconds: pass
def child(*arguments, **named):
    return subprocess.Popen([sys.executable, "-S", "-E", "-c", code, *arguments], **named)
def wait_until_gone(process):
    try:
        while True: os.kill(process.pid, 0); time.sleep(0.01)
    except ProcessLookupError: pass
code = sys.argv[-1]
arguments = sys.argv[1:-1]
"""
BURNED_S = 0.5
# The kernel counts a living process's time in hundredths of a second.
_TICKS_S = 0.05


def start(
    script: str, *, stdin: int = subprocess.DEVNULL, stdout: int | None = None
) -> ProcessTree:
    """Start the script; `child(x)` in it starts BURN + x."""
    command = [sys.executable, "-S", "-E", "-c", BURN + script, BURN + script]
    return ProcessTree.start(command, stdin=stdin, stdout=stdout)


def run(script: str, *, settle_s: float = 120) -> TreeUsage:
    return start(script).finish(settle_s=settle_s, time_limit_s=120)


def is_all(cpu_s: float, burned_s: float) -> bool:
    """Return whether everybody was counted, and nobody twice; interpreters cost a little, too."""
    return burned_s - _TICKS_S <= cpu_s < burned_s + BURNED_S


# The script starts itself again; its arguments say what it is.
WAITED = """
if arguments == ["leaf"]: burn(0.5)
elif arguments == ["middle"]:
    leaves = [child("leaf", code), child("leaf", code)]
    burn(0.5)
    for leaf in leaves: leaf.wait()
else:
    middle = child("middle", code); middle.wait()
"""
OUTLIVING = """
if arguments == ["leaf"]: burn(0.5); time.sleep(0.3); burn(1.0)
elif arguments == ["middle"]: child("leaf", code); child("leaf", code)
else:
    child("middle", code).wait(); burn(0.5)
"""
DROPPED = """
if arguments == ["leaf"]: burn(0.5); print(flush=True); sys.stdin.read()
elif arguments == ["middle"]:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for leaf in [child("leaf", code), child("leaf", code)]: wait_until_gone(leaf)
else:
    child("middle", code).wait()
"""
KILLED = """
if arguments == ["leaf"]: burn(0.5); os.kill(os.getpid(), signal.SIGKILL)
else:
    child("leaf", code); time.sleep(1.5); sys.exit(3)
"""
STUBBORN = """
if arguments == ["leaf"]:
    signal.signal(signal.SIGTERM, signal.SIG_IGN); burn(0.5); print(flush=True); time.sleep(600)
else:
    child("leaf", code, stdout=subprocess.PIPE).stdout.readline()
"""


@pytest.fixture(autouse=True)
def _no_warning_of_unwaited_children() -> Iterator[None]:
    yield
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_children_of_children_are_counted() -> None:
    usage = run(WAITED)
    assert is_all(usage.cpu_s, 3 * BURNED_S)
    assert (usage.sampled_count, usage.killed_count, usage.exit_code) == (0, 0, 0)


def test_grandchildren_that_outlive_their_parent_and_the_command_are_counted() -> None:
    usage = run(OUTLIVING)
    assert is_all(usage.cpu_s, 2 * 2 * BURNED_S + BURNED_S)
    assert (usage.sampled_count, usage.killed_count) == (0, 0)


def test_children_of_a_parent_that_ignores_their_death_are_counted() -> None:
    reads, writes = os.pipe()
    tree = start(DROPPED, stdin=reads, stdout=subprocess.PIPE)
    os.close(reads)
    assert tree.stdout is not None
    for _ in range(2):
        tree.stdout.readline()
    tree.cpu_s()  # it looks at them, as it does at every interval
    os.close(writes)
    usage = tree.finish(settle_s=120, time_limit_s=120)
    assert usage.sampled_count == 2
    assert is_all(usage.cpu_s, 2 * BURNED_S)
    assert is_all(usage.sampled_s, 2 * BURNED_S)


def test_a_child_that_is_killed_and_never_waited_for_is_counted() -> None:
    usage = run(KILLED)
    assert is_all(usage.cpu_s, BURNED_S)
    assert usage.exit_code == 3


def test_what_does_not_end_by_itself_is_ended_and_counted() -> None:
    began = time.monotonic()
    usage = run(STUBBORN, settle_s=0.2)
    assert time.monotonic() - began < 300
    assert usage.killed_count == 1
    assert is_all(usage.cpu_s, BURNED_S)


def test_what_is_used_so_far_can_be_asked_while_it_runs() -> None:
    tree = ProcessTree.start(
        [sys.executable, "-c", "import sys, time\nprint(flush=True)\nwhile True: pass"],
        stdout=subprocess.PIPE,
    )
    assert tree.stdout is not None
    tree.stdout.readline()
    before = tree.cpu_s()
    while tree.cpu_s() < before + 0.3:
        time.sleep(0.05)
    assert tree.is_running
    tree.send_signal(signal.SIGINT)
    usage = tree.finish()
    assert usage.cpu_s >= before + 0.3
    assert usage.exit_code != 0
