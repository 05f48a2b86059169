"""One core's file, as this process holds it: who writes it and who reads it."""

from pathlib import Path

from cluster.local.bodies import MessageReader
from cluster.local.reader import Reader
from cluster.local.schema import connect_to_read
from cluster.local.writer import LONG_AGO, Writer
from pipeline.instant import Instant
from pipeline.ports import Clock


class CoreFile:
    """Opens nothing before it is used."""

    def __init__(self, path: Path, *, clock: Clock, at_min: Instant = LONG_AGO) -> None:
        self.writer = Writer(path, clock=clock, at_min=at_min)
        self.reader = Reader(path, connect_to_read)
        self.messages = MessageReader()

    async def close(self) -> None:
        """End both threads.  May come twice.

        One after the other: of two connections that are closed at once each may see the other one,
        and then neither moves the log into the file and removes it.
        """
        await self.reader.close()
        await self.writer.close()
