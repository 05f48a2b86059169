"""The sum over a tree against processes that each burn a known amount of CPU time."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from benchmarks.process_tree import SAMPLE_INTERVAL_S, ProcessTree, TreeUsage

# process_time counts from the start of the process, so the interpreter's own start is inside.
BURN = """
import os, signal, subprocess, sys, time
def burn(seconds):
    while time.process_time() < seconds: pass
def child(*arguments):
    return subprocess.Popen([sys.executable, "-S", "-E", "-c", code, *arguments])
code = sys.argv[-1]
arguments = sys.argv[1:-1]
"""
BURNED_S = 0.5


def run(script: str, *, settle_s: float = 10) -> TreeUsage:
    """Run the script; `child(x)` in it starts BURN + x."""
    tree = ProcessTree.start([sys.executable, "-S", "-E", "-c", BURN + script, BURN + script])
    return tree.finish(settle_s=settle_s, time_limit_s=30)


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
if arguments == ["leaf"]: burn(0.5); time.sleep(1)
elif arguments == ["middle"]:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    child("leaf", code); child("leaf", code)
    time.sleep(4)
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
    signal.signal(signal.SIGTERM, signal.SIG_IGN); burn(0.5); time.sleep(600)
else:
    child("leaf", code); time.sleep(1)
"""


@pytest.fixture(autouse=True)
def _no_warning_of_unwaited_children() -> Iterator[None]:
    yield
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_children_of_children_are_counted() -> None:
    usage = run(WAITED)
    assert usage.cpu_s == pytest.approx(3 * BURNED_S, abs=0.25)
    assert (usage.sampled_count, usage.killed_count, usage.exit_code) == (0, 0, 0)


def test_grandchildren_that_outlive_their_parent_and_the_command_are_counted() -> None:
    usage = run(OUTLIVING)
    assert usage.cpu_s == pytest.approx(2 * 2 * BURNED_S + BURNED_S, abs=0.25)
    assert (usage.sampled_count, usage.killed_count) == (0, 0)


def test_children_of_a_parent_that_ignores_their_death_are_counted() -> None:
    usage = run(DROPPED)
    assert usage.sampled_count == 2
    assert usage.cpu_s == pytest.approx(2 * BURNED_S, abs=0.25 + 2 * SAMPLE_INTERVAL_S)
    assert usage.sampled_s == pytest.approx(2 * BURNED_S, abs=2 * SAMPLE_INTERVAL_S)


def test_a_child_that_is_killed_and_never_waited_for_is_counted() -> None:
    usage = run(KILLED)
    assert usage.cpu_s == pytest.approx(BURNED_S, abs=0.25)
    assert usage.exit_code == 3


def test_what_does_not_end_by_itself_is_ended_and_counted() -> None:
    began = time.monotonic()
    usage = run(STUBBORN, settle_s=0.2)
    assert time.monotonic() - began < 20
    assert usage.killed_count == 1
    assert usage.cpu_s == pytest.approx(BURNED_S, abs=0.25)


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
