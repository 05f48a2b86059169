"""What `shardpost doctor` looks at: the machine, the folder, the settings, the running platform.

Each check gives one verdict: `ok`, `warn` (it works, and may not for long) or `fail` (it does not,
or promises do not hold).  Whatever is not ok says what to do.
"""

import errno
import fcntl
import os
import shutil
import stat
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Final

import msgspec

from actors.cli.output import shown_span
from actors.cli.version import VersionReport
from cluster.local.inspection import LocalInspection
from cluster.runtime.settings import Settings
from cluster.topology.generation import Core
from pipeline.errors import SettingInvalid, StoreUnavailable
from pipeline.instant import DurationMs, Instant
from pipeline.limits import DISK_FREE_BYTES_LOW, DISK_FREE_BYTES_MIN, WAL_BYTES_MAX

_PYTHON_MIN: Final = (3, 11)
# The embedded store counts with FILTER.
_SQLITE_MIN: Final = (3, 30)
_BEATS_MISSED_MAX: Final = 3
_WAL_BYTES_LONG: Final = 4 * WAL_BYTES_MAX
_MIB: Final = 1024 * 1024

_MOUNTS: Final = Path("/proc/self/mountinfo")
# What lies there is gone when the machine is.
_IN_MEMORY: Final = frozenset({"tmpfs", "ramfs", "devtmpfs"})
# Whether locks and syncs mean what they say is up to another machine.
_OVER_A_NETWORK: Final = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "fuse.sshfs"}
)


class Verdict(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the doctor."""

    name: str
    verdict: Verdict
    told: str
    advice: str | None = None  # what to do, unless it is ok, or `told` says it


def check_versions(
    versions: VersionReport, *, python: tuple[int, int] = sys.version_info[:2]
) -> list[Check]:
    """Look at Python, the libraries and SQLite."""
    return [
        _judged(
            "python",
            versions.python,
            is_ok=python >= _PYTHON_MIN,
            advice="install Python 3.11 or newer, and make the environment again",
        ),
        _judged(
            "ray",
            versions.ray or "not installed",
            is_ok=versions.ray is not None,
            advice="install the project with its dependencies",
        ),
        _judged(
            "scylla-driver",
            versions.scylla_driver or "not installed",
            is_ok=versions.scylla_driver is not None,
            advice="install the project with its dependencies",
        ),
        _judged(
            "sqlite",
            versions.sqlite,
            is_ok=tuple(map(int, versions.sqlite.split(".")[:2])) >= _SQLITE_MIN,
            advice="use a Python that was built with SQLite 3.30 or newer",
        ),
    ]


def check_clock(clocks: object = time) -> Check:
    """Look whether there is a clock that runs while the machine sleeps."""
    if hasattr(clocks, "CLOCK_BOOTTIME"):
        return _ok("clock", "CLOCK_BOOTTIME")
    return Check(
        name="clock",
        verdict=Verdict.WARN,
        told="no CLOCK_BOOTTIME: a sleep of the machine is not seen",
        advice="do not let this machine sleep while the platform runs",
    )


def check_permissions(folder: Path) -> Check:
    """Look who may read and write the folder."""
    status = folder.stat()
    mode = stat.S_IMODE(status.st_mode)
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        return Check(
            name="permissions",
            verdict=Verdict.FAIL,
            told=f"{mode:04o}, and this user may not write",
            advice=f"give the folder to this user: chown -R {os.geteuid()} {folder}",
        )
    if mode & 0o077:
        return Check(
            name="permissions",
            verdict=Verdict.WARN,
            told=f"{mode:04o}: others may look at messages",
            advice=f"chmod 700 {folder}",
        )
    return _ok("permissions", f"{mode:04o}")


def check_disk(folder: Path, *, free_bytes: int | None = None) -> Check:
    """Look how much room there is."""
    free = shutil.disk_usage(folder).free if free_bytes is None else free_bytes
    told = f"{free // _MIB:,} MiB free"
    if free < DISK_FREE_BYTES_MIN:
        verdict = Verdict.FAIL
    elif free < DISK_FREE_BYTES_LOW:
        verdict = Verdict.WARN
    else:
        return _ok("disk", told)
    return Check(
        name="disk",
        verdict=verdict,
        told=told,
        advice="make room: nothing is accepted on a full disk",
    )


def check_file_system(folder: Path, *, mounts: str | None = None) -> Check:
    """Look whether the file system keeps what it synced, and knows locks."""
    kind = file_system_of(folder, _read_mounts() if mounts is None else mounts)
    try:
        with _opened(folder) as descriptor:
            os.fsync(descriptor)
            with _shared_lock(descriptor):
                pass
    except OSError as error:
        return Check(
            name="file system",
            verdict=Verdict.FAIL,
            told=f"{kind or 'unknown'}: {error.strerror}",
            advice="name a folder on a local disk, where fsync and flock work",
        )
    if kind in _IN_MEMORY:
        return Check(
            name="file system",
            verdict=Verdict.WARN,
            told=f"{kind}: in memory",
            advice="name a folder on a disk: all is lost when the machine stops",
        )
    if kind in _OVER_A_NETWORK:
        return Check(
            name="file system",
            verdict=Verdict.WARN,
            told=f"{kind}: over a network",
            advice="name a folder on a local disk: SQLite is not safe over a network",
        )
    return _ok("file system", f"{kind or 'unknown'}: fsync and flock work")


def file_system_of(folder: Path, mounts: str) -> str | None:
    """Return the type of the file system that a folder lies on, None if that is not told."""
    resolved = folder.resolve()
    kind, length = None, -1
    for line in mounts.splitlines():
        front, separator, back = line.partition(" - ")
        fields = front.split(" ")
        if not separator or len(fields) < 5:
            continue
        # Spaces are written in octal.
        point = Path(fields[4].encode().decode("unicode_escape"))
        if resolved.is_relative_to(point) and len(point.parts) >= length:
            kind, length = back.split(" ")[0], len(point.parts)
    return kind


async def check_core(
    store: LocalInspection,
    core: Core,
    *,
    wal_bytes: int,
    is_running: bool,
    heartbeat_ms: DurationMs,
    now: Instant,
) -> list[Check]:
    """Look at a core's file, and at the process that serves it."""
    name = f"core {core.node}/{core.shard}"
    try:
        heard = await store.heard(core)
    except StoreUnavailable as error:
        return [
            Check(name=name, verdict=Verdict.FAIL, told="cannot be read", advice=str(error)),
        ]
    checks = []
    if is_running:
        checks.append(check_heartbeat(name, heard, heartbeat_ms=heartbeat_ms, now=now))
    told = f"log of {wal_bytes // _MIB:,} MiB"
    if wal_bytes > _WAL_BYTES_LONG:
        advice = "look for a program that keeps the file open, and end it"
        if not is_running:
            advice = "start the platform: it moves the log into the file"
        checks.append(Check(name=name, verdict=Verdict.WARN, told=told, advice=advice))
    else:
        checks.append(_ok(name, told))
    return checks


def check_heartbeat(
    name: str, heard: Mapping[bytes, Instant], *, heartbeat_ms: DurationMs, now: Instant
) -> Check:
    """Look when the processes of a core were last heard of."""
    late_us = (_BEATS_MISSED_MAX + 1) * heartbeat_ms * 1_000
    if not heard:
        told = "no process serves it"
    elif (since_us := now - max(heard.values())) <= late_us:
        return _ok(name, "its process is alive")
    else:
        told = f"its process was last heard of {shown_span(since_us)} ago"
    return Check(
        name=name,
        verdict=Verdict.FAIL,
        told=told,
        advice="wait a minute for another one to start; else look at the platform's log",
    )


def check_settings(settings: Settings) -> Check:
    """Tell what was read."""
    return _ok("settings", f"connectors: {', '.join(settings.connectors)}")


def check_way_out(refusal: SettingInvalid) -> Check:
    """Tell what `shardpost up` would refuse if it were started from here."""
    return Check(
        name="ways out",
        verdict=Verdict.WARN,
        told=str(refusal),
        advice="a platform that is started from this shell refuses it: change what is named",
    )


def check_trouble(trouble: str) -> Check:
    """Tell what the running platform says of itself."""
    return failed(
        "trouble",
        trouble,
        "change what is named; if that is a setting or a variable, start the platform again",
    )


def check_warning(warning: str) -> Check:
    """Tell what the running platform says of what it works around."""
    return Check(name="warning", verdict=Verdict.WARN, told=warning)


def failed(name: str, told: str, advice: str | None = None) -> Check:
    """Return a check that failed."""
    return Check(name=name, verdict=Verdict.FAIL, told=told, advice=advice)


def _judged(name: str, told: str, *, is_ok: bool, advice: str) -> Check:
    return _ok(name, told) if is_ok else failed(name, told, advice)


def _ok(name: str, told: str) -> Check:
    return Check(name=name, verdict=Verdict.OK, told=told)


def _read_mounts() -> str:
    try:
        return _MOUNTS.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return ""  # not Linux


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def _shared_lock(descriptor: int) -> Iterator[None]:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.EAGAIN, errno.EACCES):
            raise
        # Somebody else has it: locks work.
        yield
        return
    try:
        yield
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
