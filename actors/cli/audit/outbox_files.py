"""The lines of an outbox: which messages were written out, by core.

Whoever reads the files may have taken them away, so there may be many places.  There a file may lie
at any depth and have an ending behind its name, as those have that turn logs over; its name still
tells the lane.

A line that ends too early is what a process leaves that dies while it writes; its message is
uncertain, so it is no hand-over and no finding.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from actors.cli.audit.findings import FindingKind, Findings
from actors.cli.id_columns import ID_BYTES
from cluster.topology.generation import Core, CoreUnknown, Generation
from pipeline.errors import DataFolderUnusable
from pipeline.lane_id import LaneId
from pipeline.limits import LINE_BYTES_MAX

_BEGINNING: Final = b'{"message_id":"'
_SUFFIX: Final = ".jsonl"
_END: Final = b"}}"  # of the metadata, and of the line


class _Head(msgspec.Struct):
    message_id: str


_decode: Final = msgspec.json.Decoder(_Head).decode


@dataclass(slots=True)
class CoreLines:
    """The lines of one core's lanes."""

    ids: bytearray = field(default_factory=bytearray)  # one after another, 16 bytes each
    torn: int = 0
    starts: list[int] = field(default_factory=list)  # the number of each file's first line

    @property
    def count(self) -> int:
        """How many whole lines there are."""
        return len(self.ids) // ID_BYTES


def outbox_files(
    places: Sequence[Path], generation: Generation, findings: Findings
) -> dict[Core, list[Path]]:
    """Return the files below these folders by core, each once.  Raises `DataFolderUnusable`."""
    files: dict[Core, list[Path]] = {core: [] for core in generation.cores}
    outbox = places[0]
    try:
        found: set[Path] = set()
        for outbox in places:
            found |= {path.resolve() for path in outbox.rglob("*") if not path.is_dir()}
        for path in sorted(found):
            try:
                lane = LaneId.parse(path.name.partition(_SUFFIX)[0])
                core = generation.cores[generation.index_of(Core(lane.node, lane.shard))]
            except (ValueError, CoreUnknown) as error:
                findings.add(FindingKind.LINE_UNREADABLE, where=str(path), detail=str(error))
            else:
                files[core].append(path)
    except OSError as error:
        raise DataFolderUnusable(f"{outbox} cannot be read: {error.strerror}") from error
    return files


def read_lines(paths: list[Path], findings: Findings) -> CoreLines:
    """Read the lines of files; raises `DataFolderUnusable`."""
    lines = CoreLines()
    for path in paths:
        lines.starts.append(lines.count)
        try:
            _read_file(path, lines, findings)
        except OSError as error:
            raise DataFolderUnusable(f"{path} cannot be read: {error.strerror}") from error
    return lines


def _read_file(path: Path, lines: CoreLines, findings: Findings) -> None:
    for number, line in enumerate(_lines(path), start=1):
        try:
            id_ = bytes.fromhex(_decode(line).message_id)
        except (msgspec.DecodeError, ValueError):
            id_ = b""
        if len(id_) == ID_BYTES and line.endswith(b"\n"):
            lines.ids += id_
        elif _is_torn(line):
            lines.torn += 1
        else:
            findings.add(
                FindingKind.LINE_UNREADABLE,
                where=str(path),
                detail=f"line {number} is no hand-over of ours",
            )


def _lines(path: Path) -> Iterator[bytes]:
    """Yield the lines; of one that is too long to be ours, its beginning."""
    with path.open("rb") as file:
        while line := file.readline(LINE_BYTES_MAX):
            yield line
            end = line
            while not end.endswith(b"\n") and (end := file.readline(LINE_BYTES_MAX)):
                pass


def _is_torn(line: bytes) -> bool:
    # After a power loss the file may be as long as it was to be, and hold zeros.
    written = line.rstrip(b"\n").rstrip(b"\0")
    if not line.endswith(b"\n"):
        return written.startswith(_BEGINNING[: len(written)])
    return not written.endswith(_END) and written.startswith(_BEGINNING[: len(written)])
