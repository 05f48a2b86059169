"""The one form of a measured result: a JSON line that says what, on which code, on which machine.

A figure without its commit and its machine cannot be compared with anything, so `print_result`
gives none without them.  A commit is called dirty when tracked files differ from it: its figures
belong to nothing that can be checked out again.
"""

import os
import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import orjson

Figure = int | float | str | bool | None

_REPOSITORY: Final = Path(__file__).resolve().parent.parent


def print_result(name: str, figures: Mapping[str, Figure]) -> None:
    """Print one result as one line of JSON on standard output, and flush it.

    `figures` carry their units in their names: `messages_per_second`, `cpu_us_per_message`.
    """
    print(result_line(name, figures), flush=True)


def result_line(name: str, figures: Mapping[str, Figure]) -> str:
    """Return the line that `print_result` prints."""
    commit, is_dirty = _commit()
    return orjson.dumps(
        {
            "name": name,
            "figures": dict(figures),
            "commit": commit,
            "dirty": is_dirty,
            "machine": machine(),
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
        }
    ).decode()


def machine() -> dict[str, Figure]:
    """Return what the figures depend on besides the code."""
    return {
        "cpu": _cpu_model(),
        # What this process may use, which in a container is less than the machine has.
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def _commit() -> tuple[str | None, bool | None]:
    """Return the commit and whether tracked files differ from it; (None, None) outside of git."""
    try:
        commit = _git("rev-parse", "HEAD").strip()
        changed = _git("status", "--porcelain", "--untracked-files=no").strip()
    except (OSError, subprocess.CalledProcessError):
        return None, None
    return commit, bool(changed)


def _git(*arguments: str) -> str:
    return subprocess.run(
        ("git", *arguments), cwd=_REPOSITORY, check=True, capture_output=True, text=True
    ).stdout


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    for line in lines:
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
