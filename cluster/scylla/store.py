"""The store on ScyllaDB as the actors see it: `IngestStore`, `LaneStore` and `TopologySource`.

Every verb goes to partitions that lie on the core that it names, or on that of its lane; which
statement each sends, and what a repeat does, stands in `statements.cql`.
"""

from cluster.scylla import generations
from cluster.scylla.bodies import BodyVerbs
from cluster.scylla.buffer import BufferVerbs
from cluster.scylla.cells import CellVerbs
from cluster.scylla.journal import JournalVerbs
from cluster.scylla.orders import OrderVerbs
from cluster.scylla.receipts import ReceiptVerbs
from cluster.scylla.session import ScyllaSession
from cluster.scylla.suppressions import SuppressionVerbs
from cluster.scylla.timers import TimerVerbs
from cluster.topology.generation import Core, Generation
from pipeline.instant import Instant
from pipeline.limits import Windows
from pipeline.ports import Clock


class ScyllaStore(
    BodyVerbs,
    BufferVerbs,
    TimerVerbs,
    JournalVerbs,
    CellVerbs,
    OrderVerbs,
    ReceiptVerbs,
    SuppressionVerbs,
):
    """The store of one process, for one event loop."""

    @classmethod
    async def open(
        cls, session: ScyllaSession, generation: Generation, *, clock: Clock, windows: Windows
    ) -> "ScyllaStore":
        """Return the store of a generation; the session is the caller's, and stays open."""
        return cls(session, generation, clock=clock, windows=windows)

    async def read_generations(self) -> list[Generation]:
        """Return every generation, oldest first; at SERIAL."""
        return await generations.read_all(self._session)

    async def read_restored_at(self) -> Instant | None:
        """Return None: a cluster that was restored does not say so."""
        return None

    async def sweep(self, core: Core) -> None:
        """Do nothing: rows end by their time to live, and the server tidies itself."""
        self._known(core)
