"""What the command line asks of a store, whichever it is."""

from typing import Protocol

from cluster.topology.generation import Core
from pipeline.instant import Instant
from pipeline.message import MessageId
from pipeline.ports import QueryStore


class Inspection(QueryStore, Protocol):
    """The queries, and what is for people alone."""

    async def heard(self, core: Core) -> dict[bytes, Instant]:
        """Return when each process that serves the core was last heard of; not who said goodbye.

        To be shown to people.  Nothing may be decided by it: clocks differ.
        """
        ...

    async def ids_beginning(self, hex_digits: str, *, limit: int) -> list[MessageId]:
        """Return up to `limit` ids of stored messages that begin with these digits.

        Raises `InputInvalid` where the store cannot look for them.
        """
        ...
