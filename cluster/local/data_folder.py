"""The folder that an embedded store lives in: its format and its ring, made once.

`format.json` says which format the folder has and holds generation 1: the shape of the made-up
ring, when it starts, and the P that its owners must have.  It is written to another name, synced
and renamed, so that a crash leaves either a folder that is ours or an empty one.  A folder of
another shape, another P or a newer format is refused: who placed keys on other cores, or judged
promptness by another P, would lose messages or send them twice, and nobody would notice.

A core's file is made when something is first asked of it, so one that is not there may mean that
nothing was ever written.  Once it has its tables an empty file `<core>.made` is put beside it: from
then on a file that is gone, or empty, is a loss, and the folder is refused.  A folder of an older
release has no such marks until a platform ran on it.
"""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from cluster.topology.generation import Core, Generation, GenerationInvalid, GenerationTooNew
from cluster.topology.made_up import made_up_ring
from pipeline.errors import DataFolderUnusable
from pipeline.instant import Instant
from pipeline.limits import LOCAL_NODES_MAX, LOCAL_SHARDS_MAX, Windows

# Format 2 may say when the folder was restored; one of format 1 opens as it is.
FORMAT: Final = 2
FORMAT_FILE: Final = "format.json"
FOLDER_MODE: Final = 0o700
FILE_MODE: Final = 0o600

# Files of ours that may be there before `format.json` is: what a crash while it was made leaves.
_BEGUN_FILE: Final = "format.json.begun"
_LOCK_FILE: Final = "lock"

_VNODES_PER_NODE: Final = 16
_IGNORE_MSB: Final = 12  # as ScyllaDB has it unless told otherwise
_RING_SEED: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How many nodes `n1`, `n2`, ... the made-up ring has, and how many shards each of them."""

    node_count: int = 2
    shard_count: int = 2

    def __post_init__(self) -> None:
        assert 1 <= self.node_count <= LOCAL_NODES_MAX, self.node_count
        assert 1 <= self.shard_count <= LOCAL_SHARDS_MAX, self.shard_count

    def __str__(self) -> str:
        return f"{self.node_count} nodes x {self.shard_count} shards"


class _Format(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    format: int
    generation: msgspec.Raw
    restored_at: int | None = None


class _AnyFormat(msgspec.Struct):
    format: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFolder:
    """A folder that was found to be ours."""

    path: Path
    generation: Generation
    # What has an `at` up to this one comes from a backup: it may have been sent since that was
    # taken.  None: the folder was never restored, or nothing was sent since.
    restored_at: Instant | None = None

    @property
    def at_min(self) -> Instant:
        """An instant before which no row gets its `at`, whatever the clock says."""
        first = Instant(self.generation.starts_at)
        return first if self.restored_at is None else max(first, Instant(self.restored_at + 1))

    @classmethod
    def create_or_open(
        cls, path: Path, *, shape: Shape | None, windows: Windows, now: Instant
    ) -> "DataFolder":
        """Open the folder; make it if it is not there, or empty, with generation 1 from `now`.

        Its parent must be there.  `shape` None takes whatever shape an old folder has.  May be
        called by many processes at once: one makes it.  Raises `DataFolderUnusable`.
        """
        with told_in_one_line(path):
            with suppress(FileExistsError):
                path.mkdir(mode=FOLDER_MODE)
            if path.is_dir() and not os.access(path, os.W_OK | os.X_OK):
                raise DataFolderUnusable(
                    f"{path} cannot be written: give this user the folder, or name another"
                )
            with _held_still(path):
                if not (path / FORMAT_FILE).exists():
                    _make(path, shape=shape or Shape(), windows=windows, now=now)
            return cls.open(path, shape=shape, windows=windows)

    @classmethod
    def open(
        cls, path: Path, *, shape: Shape | None = None, windows: Windows | None = None
    ) -> "DataFolder":
        """Open a folder that is there; changes nothing.

        `shape` and `windows` None take what the folder has.  Raises `DataFolderUnusable`.
        """
        with told_in_one_line(path):
            try:
                encoded = (path / FORMAT_FILE).read_bytes()
            except FileNotFoundError:
                raise DataFolderUnusable(_not_ours(path)) from None
        generation, restored_at = decode_format(encoded, path / FORMAT_FILE)
        stored = (len(generation.nodes), generation.nodes[0].shard_count)
        if shape is not None and stored != (shape.node_count, shape.shard_count):
            raise DataFolderUnusable(
                f"{path} was made with {stored[0]} nodes x {stored[1]} shards, not {shape}:"
                " set them as they were, or name another data folder"
            )
        if windows is not None and windows.prompt_ms != generation.prompt_ms:
            raise DataFolderUnusable(
                f"{path} was made with write_deadline_ms + 2 x clock_skew_ms_max ="
                f" {generation.prompt_ms}, not {windows.prompt_ms}:"
                " set them as they were, or name another data folder"
            )
        folder = cls(path=path, generation=generation, restored_at=restored_at)
        for core in generation.cores:
            if is_core_file_lost(core_path := folder.core_path(core)):
                raise DataFolderUnusable(lost_core_file(core_path))
        return folder

    def core_path(self, core: Core) -> Path:
        """Return the path of a core's file; raises `CoreUnknown`."""
        self.generation.index_of(core)
        return self.path / f"{core.node}-{core.shard}.db"


def mark_core_file(path: Path) -> None:
    """Note durably that a core's file was made.  May be repeated; raises OSError."""
    mark = _mark_of(path)
    if not mark.exists():
        os.close(os.open(mark, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, FILE_MODE))
        with _folder_descriptor(path.parent) as folder:
            os.fsync(folder)


def is_core_file_made(path: Path) -> bool:
    """Return whether a core's file was made once, wherever it is now."""
    return _mark_of(path).exists()


def is_core_file_lost(path: Path) -> bool:
    """Return whether a core's file that was made is gone, or empty."""
    if not is_core_file_made(path):
        return False
    try:
        return path.stat().st_size == 0
    except FileNotFoundError:
        return True


def lost_core_file(path: Path) -> str:
    """Return one line for a person."""
    return (
        f"{path} was made and is gone or empty, and with it the messages it held:"
        " stop the platform and restore it from a copy"
    )


def _mark_of(path: Path) -> Path:
    return path.with_suffix(".made")


def refuse_used(path: Path) -> None:
    """Raise `DataFolderUnusable` if the folder holds anything that is not ours."""
    strangers = {entry.name for entry in path.iterdir()} - {_BEGUN_FILE, _LOCK_FILE}
    if strangers:
        found = f"holds {min(strangers)!r} and is no data folder"
        if FORMAT_FILE in strangers:
            found = "is a data folder already"
        raise DataFolderUnusable(
            f"{path} {found}: name an empty folder, or one that does not exist"
        )


def _make(path: Path, *, shape: Shape, windows: Windows, now: Instant) -> None:
    refuse_used(path)
    path.chmod(FOLDER_MODE)
    nodes, ring = made_up_ring(
        node_names=[f"n{number}" for number in range(1, shape.node_count + 1)],
        shard_count=shape.shard_count,
        vnodes_per_node=_VNODES_PER_NODE,
        ignore_msb=_IGNORE_MSB,
        seed=_RING_SEED,
    )
    generation = Generation(
        number=1, starts_at=now, prompt_ms=windows.prompt_ms, nodes=nodes, ring=ring
    )
    write_format(path, generation=generation, restored_at=None)


def write_format(path: Path, *, generation: Generation, restored_at: Instant | None) -> None:
    """Write `format.json`, which makes a folder a data folder: the last act of making one."""
    write_whole(
        path / FORMAT_FILE,
        msgspec.json.encode(
            _Format(
                format=FORMAT,
                generation=msgspec.Raw(generation.encode()),
                restored_at=restored_at,
            )
        ),
        begun=path / _BEGUN_FILE,
    )


def write_whole(path: Path, content: bytes, *, begun: Path) -> None:
    """Put a file in place with all of its content or not at all, durably.

    `begun` is the name that it has until it is complete, in the same folder.
    """
    descriptor = os.open(begun, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, FILE_MODE)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    begun.rename(path)
    with _folder_descriptor(path.parent) as folder:
        os.fsync(folder)


def decode_format(encoded: bytes, path: Path) -> tuple[Generation, Instant | None]:
    """Return generation 1 and when the folder was restored, from the content of `format.json`.

    `path` is what an error names.  Raises `DataFolderUnusable`.
    """
    try:
        if (stored := msgspec.json.decode(encoded, type=_AnyFormat).format) > FORMAT:
            raise DataFolderUnusable(
                f"{path} has format {stored}, this release reads up to {FORMAT}:"
                " run the release that made it, or a newer one"
            )
        stored_format = msgspec.json.decode(encoded, type=_Format)
        restored_at = stored_format.restored_at
        return (
            Generation.decode(bytes(stored_format.generation)),
            None if restored_at is None else Instant(restored_at),
        )
    except GenerationTooNew as error:
        raise DataFolderUnusable(
            f"{path}: {error}: run the release that made it, or a newer one"
        ) from error
    except (msgspec.DecodeError, UnicodeDecodeError, GenerationInvalid) as error:
        raise DataFolderUnusable(
            f"{path} is damaged: restore it from a copy, or name another data folder"
        ) from error


def _not_ours(path: Path) -> str:
    if not path.exists():
        return f"{path} does not exist: start the platform to make it, or name another data folder"
    return f"{path} is no data folder (it has no {FORMAT_FILE}): name another"


@contextmanager
def _folder_descriptor(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def _held_still(path: Path) -> Iterator[None]:
    """Let one process at a time look whether the folder is made, and make it."""
    with _folder_descriptor(path) as folder:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield


@contextmanager
def told_in_one_line(path: Path) -> Iterator[None]:
    """Turn an OSError into what the operator can do about it."""
    try:
        yield
    except FileNotFoundError as error:
        raise DataFolderUnusable(
            f"{path.parent} does not exist: make it, or name another data folder"
        ) from error
    except (NotADirectoryError, FileExistsError) as error:
        raise DataFolderUnusable(f"{path} is not a folder: name another data folder") from error
    except OSError as error:
        raise DataFolderUnusable(f"{path}: {_what_to_change(error)}") from error


def _what_to_change(error: OSError) -> str:
    match error.errno:
        case errno.EACCES | errno.EPERM:
            return "no permission: give this user the folder, or name another"
        case errno.EROFS:
            return "is on a read-only file system: name a folder that can be written"
        case errno.ENOSPC | errno.EDQUOT:
            return "the disk is full: make room, or name a folder on another disk"
        case _:
            return f"{error.strerror or error}: mend it, or name another data folder"
