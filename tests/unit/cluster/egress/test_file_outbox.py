"""The files of an outbox: durable before anybody says so, and never glued to a torn line."""

import asyncio
import errno
import os
import resource
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cluster.egress import file_outbox
from cluster.egress.file_connector import FileConnector
from cluster.egress.file_outbox import FileOutbox, Written
from pipeline.connectors.file.codec import decode_line, encode_lines
from pipeline.instant import Instant
from pipeline.lane_id import LaneId
from pipeline.lifecycle import Event
from pipeline.message import Body, MessageId
from pipeline.outcome import HandOver, Outcomes, ProviderClass
from tests.support.submissions import some_bodies

LANE = LaneId(1, "n1", 0, "sms", "bulk-1")
DURABLE = Written(bytes_count=6, is_durable=True, error="")


class Disk:
    """The operating system, as far as the outbox asks it: it tells, and fails on command."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.room_bytes: int | None = None  # until the disk is full
        self.write_bytes_max: int | None = None  # a signal may end a write early
        self.sync_fails = False
        self.before_sync: Callable[[], None] | None = None
        self.opened: dict[int, str] = {}
        self.folders_synced: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def open(self, path: Path, flags: int, mode: int = 0o777) -> int:
        file = os.open(path, flags, mode)
        self.opened[file] = str(path)
        return file

    def write(self, file: int, data: bytes) -> int:
        data = bytes(data)[: self.write_bytes_max]
        if self.room_bytes is not None:
            if not self.room_bytes:
                raise OSError(errno.ENOSPC, "No space left on device")
            data = data[: self.room_bytes]
            self.room_bytes -= len(data)
        self.calls.append(f"write {len(data)}")
        return os.write(file, data)

    def fdatasync(self, file: int) -> None:
        self.calls.append("sync")
        if self.before_sync is not None:
            self.before_sync()
        if self.sync_fails:
            raise OSError(errno.EIO, "Input/output error")
        os.fdatasync(file)

    def fsync(self, file: int) -> None:
        self.folders_synced.append(self.opened[file])
        os.fsync(file)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    made = Disk()
    monkeypatch.setattr(file_outbox, "os", made)
    return made


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[FileOutbox]:
    made = FileOutbox(tmp_path / "outbox")
    yield made
    made.close()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "outbox" / "sms" / "1.n1.0.sms.bulk-1.jsonl"


def hand_over(count: int = 3) -> HandOver:
    return HandOver(
        lane=LANE,
        message_ids=[MessageId(bytes([n]) * 16) for n in range(count)],
        attempts=[1] * count,
        bodies=some_bodies(count),
        send_before=Instant(2**62),
    )


def append(outbox: FileOutbox, data: bytes, *, lane: LaneId = LANE) -> Written:
    return asyncio.run(outbox.append(lane, data))


def submit(connector: FileConnector, handed: HandOver) -> Outcomes:
    reported: list[Outcomes] = []

    def report(positions: Sequence[int], outcomes: Outcomes) -> None:
        assert list(positions) == list(range(len(handed.message_ids)))
        reported.append(outcomes)

    asyncio.run(connector.submit(handed, report))
    (outcomes,) = reported
    return outcomes


# --- writing --------------------------------------------------------------------------------------


def test_lines_are_appended_to_the_lanes_file(outbox: FileOutbox, file: Path) -> None:
    assert append(outbox, b"one\n\n\n") == DURABLE
    assert append(outbox, b"two\n\n\n") == DURABLE
    assert file.read_bytes() == b"one\n\n\ntwo\n\n\n"


def test_others_may_not_read_them(outbox: FileOutbox, file: Path) -> None:
    append(outbox, b"one\n")
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700


def test_they_are_durable_before_anybody_says_so(outbox: FileOutbox, disk: Disk) -> None:
    append(outbox, b"one\n")
    assert disk.calls == ["write 4", "sync"]


def test_so_are_the_names_of_a_new_file_and_its_folders(
    outbox: FileOutbox, disk: Disk, tmp_path: Path
) -> None:
    append(outbox, b"one\n")
    assert set(disk.folders_synced) == {
        str(tmp_path / "outbox" / "sms"),
        str(tmp_path / "outbox"),
        str(tmp_path),
    }


def test_a_write_that_ends_early_is_gone_on_with(
    outbox: FileOutbox, disk: Disk, file: Path
) -> None:
    disk.write_bytes_max = 4
    assert append(outbox, b"012345") == DURABLE
    assert disk.calls == ["write 4", "write 2", "sync"]
    assert file.read_bytes() == b"012345"


def test_lanes_have_files_of_their_own_however_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_outbox, "_FILES_OPEN_MAX", 2)
    outbox = FileOutbox(tmp_path / "outbox")
    lanes = [LANE._replace(band=f"bulk-{n}") for n in range(5)]
    for _ in range(2):
        for lane in lanes:
            append(outbox, str(lane).encode() + b"\n", lane=lane)
            assert len(outbox._files) <= 2
    outbox.close()
    for lane in lanes:
        text = (tmp_path / "outbox" / "sms" / f"{lane}.jsonl").read_text()
        assert text == f"{lane}\n{lane}\n"


def test_closing_twice_is_closing_once(tmp_path: Path) -> None:
    outbox = FileOutbox(tmp_path / "outbox")
    append(outbox, b"one\n")
    outbox.close()
    outbox.close()


# --- torn lines -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("left", "found"),
    [
        pytest.param(b"", b"new\n", id="an empty file"),
        pytest.param(b"old\n", b"old\nnew\n", id="a line that ended"),
        pytest.param(b"old\nto", b"old\nto\nnew\n", id="a torn line"),
        pytest.param(b"t", b"t\nnew\n", id="a torn first line"),
    ],
)
def test_a_new_writer_ends_a_torn_line_first(
    outbox: FileOutbox, file: Path, left: bytes, found: bytes
) -> None:
    file.parent.mkdir(parents=True)
    file.write_bytes(left)
    append(outbox, b"new\n")
    assert file.read_bytes() == found


def test_so_does_the_writer_that_tore_it(outbox: FileOutbox, disk: Disk, file: Path) -> None:
    append(outbox, b"old\n")
    disk.room_bytes = 2
    assert not append(outbox, b"torn\n").is_durable
    disk.room_bytes = None
    append(outbox, b"new\n")
    assert file.read_bytes() == b"old\nto\nnew\n"


def test_two_writers_of_one_lane_overwrite_nothing(
    outbox: FileOutbox, tmp_path: Path, file: Path
) -> None:
    successor = FileOutbox(tmp_path / "outbox")
    append(outbox, b"one\n")
    append(successor, b"two\n")
    append(outbox, b"three\n")
    successor.close()
    assert file.read_bytes() == b"one\ntwo\nthree\n"


# --- readers who take files away ------------------------------------------------------------------


@pytest.mark.parametrize("is_kept", [True, False], ids=["moved", "removed"])
def test_a_file_that_was_taken_away_is_begun_anew(
    outbox: FileOutbox, tmp_path: Path, file: Path, is_kept: bool
) -> None:
    append(outbox, b"one\n\n\n")
    if is_kept:
        file.rename(tmp_path / "taken.jsonl")
    else:
        file.unlink()
        file.parent.rmdir()
    assert append(outbox, b"two\n\n\n") == DURABLE
    assert file.read_bytes() == b"two\n\n\n"
    assert len(outbox._files) == 1


def test_a_file_that_another_put_in_its_place_is_gone_on_with(
    outbox: FileOutbox, tmp_path: Path, file: Path
) -> None:
    append(outbox, b"one\n\n\n")
    (tmp_path / "other").write_bytes(b"torn")
    (tmp_path / "other").rename(file)
    assert append(outbox, b"two\n\n\n") == DURABLE
    assert file.read_bytes() == b"torn\ntwo\n\n\n"


def test_a_file_that_is_removed_while_it_is_written_leaves_everything_in_doubt(
    outbox: FileOutbox, disk: Disk, file: Path
) -> None:
    disk.before_sync = file.unlink
    written = append(outbox, b"one\n")
    assert (written.bytes_count, written.is_durable) == (4, False)
    assert "removed" in written.error
    disk.before_sync = None
    assert append(outbox, b"two\n\n\n") == DURABLE
    assert file.read_bytes() == b"two\n\n\n"


# --- faults ---------------------------------------------------------------------------------------


@contextmanager
def files_no_larger_than(size: int) -> Iterator[None]:
    """Let the kernel itself end writes; Python ignores the signal that comes with it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_file_that_may_not_grow_is_told_to_the_byte(outbox: FileOutbox, file: Path) -> None:
    append(outbox, b"1234\n")
    with files_no_larger_than(12):
        written = append(outbox, b"one\ntwo\nthree\n")
    assert (written.bytes_count, written.is_durable) == (7, False)
    assert "File too large" in written.error
    assert file.read_bytes() == b"1234\none\ntwo"


def test_a_sync_that_fails_leaves_everything_in_doubt(outbox: FileOutbox, disk: Disk) -> None:
    disk.sync_fails = True
    written = append(outbox, b"one\n")
    assert (written.bytes_count, written.is_durable) == (4, False)
    assert "Input/output error" in written.error


def test_an_answer_comes_again_once_there_is_room(outbox: FileOutbox, disk: Disk) -> None:
    disk.room_bytes = 0
    assert append(outbox, b"one\n\n\n").bytes_count == 0
    disk.room_bytes = None
    assert append(outbox, b"one\n\n\n") == DURABLE


@pytest.mark.parametrize("what_is_in_the_way", ["outbox", "outbox/sms", "outbox/sms/lane"])
def test_a_file_that_cannot_be_opened_takes_nothing(
    outbox: FileOutbox, tmp_path: Path, file: Path, what_is_in_the_way: str
) -> None:
    blocked = file if what_is_in_the_way.endswith("lane") else tmp_path / what_is_in_the_way
    blocked.parent.mkdir(parents=True, exist_ok=True)
    if blocked == file:
        blocked.mkdir()
    else:
        blocked.write_text("")
    written = append(outbox, b"one\n")
    assert (written.bytes_count, written.is_durable) == (0, False)
    assert written.error
    assert not outbox._files


def test_a_torn_line_that_cannot_be_ended_takes_nothing(
    outbox: FileOutbox, disk: Disk, file: Path
) -> None:
    file.parent.mkdir(parents=True)
    file.write_bytes(b"torn")
    disk.room_bytes = 0
    assert append(outbox, b"one\n").bytes_count == 0
    assert not outbox._files
    assert file.read_bytes() == b"torn"


# --- the connector --------------------------------------------------------------------------------


def test_a_hand_over_is_one_line_for_each_message(outbox: FileOutbox, file: Path) -> None:
    connector = FileConnector(name="file", outbox=outbox)
    outcomes = submit(connector, hand_over())
    assert outcomes.events == bytes([Event.TAKE]) * 3
    assert [decode_line(line).content for line in file.read_bytes().splitlines()] == [
        "hello 0",
        "hello 1",
        "hello 2",
    ]


def test_a_file_cannot_tell_a_repeat(outbox: FileOutbox) -> None:
    connector = FileConnector(name="letters", outbox=outbox)
    assert (connector.name, connector.provider_class) == ("letters", ProviderClass.NONE)


@pytest.mark.parametrize(
    ("lines_whole", "bytes_more", "events"),
    [
        pytest.param(0, 0, "NOT_SENT NOT_SENT NOT_SENT", id="full from the start"),
        pytest.param(0, 1, "LOSE_ANSWER NOT_SENT NOT_SENT", id="full in the first line"),
        pytest.param(1, 0, "LOSE_ANSWER NOT_SENT NOT_SENT", id="full after the first line"),
        pytest.param(2, 9, "LOSE_ANSWER LOSE_ANSWER LOSE_ANSWER", id="full in the last line"),
    ],
)
def test_of_a_disk_that_is_full_the_outcomes_tell_which_may_be_read(
    outbox: FileOutbox, disk: Disk, lines_whole: int, bytes_more: int, events: str
) -> None:
    lines = encode_lines(hand_over())
    disk.room_bytes = sum(map(len, lines[:lines_whole])) + bytes_more
    outcomes = submit(FileConnector(name="file", outbox=outbox), hand_over())
    assert [Event(event).name for event in outcomes.events] == events.split()
    assert "No space left" in outcomes.details[0]


def test_of_a_folder_that_is_none_nothing_was_sent(outbox: FileOutbox, tmp_path: Path) -> None:
    (tmp_path / "outbox").write_text("")
    outcomes = submit(FileConnector(name="file", outbox=outbox), hand_over())
    assert outcomes.events == bytes([Event.NOT_SENT]) * 3


def test_what_cannot_be_encoded_is_refused_before_anything_is_written(
    outbox: FileOutbox, file: Path
) -> None:
    damaged = HandOver(
        lane=LANE,
        message_ids=[MessageId(b"a" * 16), MessageId(b"b" * 16)],
        attempts=[1, 1],
        bodies=[*some_bodies(1), Body(b"\xc1")],
        send_before=Instant(2**62),
    )
    connector = FileConnector(name="file", outbox=outbox)
    with pytest.raises(Exception, match="MessagePack"):
        submit(connector, damaged)
    assert not file.exists()
    asyncio.run(connector.close())
