"""A data folder that a test breaks, and a whole one to begin from."""

import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec

from cluster.topology.generation import Core
from pipeline.message import MessageId
from tests.support.cli_answer import Answer
from tests.support.filled_folder import FilledFolder

COUNT = 12


class Broken:
    """A folder that a test breaks: `COUNT` messages that were sent, one of them first of all."""

    def __init__(self, path: Path, whole: FilledFolder) -> None:
        self.path = path
        self.ids = sorted(id_ for id_, message in whole.messages.items())
        self._whole = whole

    @property
    def victim(self) -> MessageId:
        return self.ids[0]

    @property
    def core(self) -> Core:
        return self._whole.core_of(self.victim)

    @property
    def lane(self) -> str:
        return str(self._whole.messages[self.victim].lane)

    def change(self, statement: str, *parameters: object) -> None:
        path = self.path / self._whole.folder.core_path(self.core).name
        assert FilledFolder.damage_file(path, statement, *parameters) > 0, "nothing was broken"

    def spoil_body(self) -> None:
        """Let the victim's body be none."""
        path = self.path / self._whole.folder.core_path(self.core).name
        with closing(sqlite3.connect(path)) as connection, connection:
            for block, packed in connection.execute("SELECT block, packed FROM bodies").fetchall():
                ids, *others, bodies = msgspec.msgpack.decode(packed)
                if self.victim in ids:
                    bodies[ids.index(self.victim)] = b"\xc1"
                    spoiled = msgspec.msgpack.encode([ids, *others, bodies])
                    statement = "UPDATE bodies SET packed = ? WHERE block = ?"
                    connection.execute(statement, (spoiled, block))
                    return
        raise AssertionError("nothing was broken")

    @property
    def lines_file(self) -> Path:
        return self.path / "outbox" / "sms" / f"{self.lane}.jsonl"

    def lines(self) -> list[bytes]:
        return self.lines_file.read_bytes().splitlines(keepends=True)

    def write_lines(self, lines: list[bytes]) -> None:
        self.lines_file.write_bytes(b"".join(lines))

    def line_of_victim(self) -> bytes:
        [line] = [line for line in self.lines() if self.victim.hex().encode() in line]
        return line


async def fill_whole(path: Path) -> FilledFolder:
    """Return a folder in which everything is as it should be; nobody may change it."""
    folder = FilledFolder(path)
    try:
        ids = await folder.accept(COUNT, group="spring")
        await folder.send(ids[: COUNT // 2])
        await folder.send(ids[COUNT // 2 :])
        return folder
    finally:
        await folder.close()


def kinds(answer: Answer) -> dict[str, int]:
    found = answer.json["findings_by_kind"]
    assert answer.code == (9 if found else 0)
    assert answer.json["findings_count"] == sum(found.values())
    return dict(found)
