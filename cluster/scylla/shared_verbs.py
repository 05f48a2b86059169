"""What actors and the command line both ask of the store."""

from cluster.scylla import generations, restores
from cluster.scylla.buffer import BufferVerbs
from cluster.scylla.cells import CellVerbs
from cluster.scylla.journal import JournalVerbs
from cluster.scylla.orders import OrderVerbs
from cluster.scylla.receipts import ReceiptVerbs
from cluster.scylla.suppressions import SuppressionVerbs
from cluster.scylla.timers import TimerVerbs
from cluster.topology.generation import Generation
from pipeline.instant import Instant


class SharedVerbs(
    BufferVerbs,
    TimerVerbs,
    JournalVerbs,
    CellVerbs,
    OrderVerbs,
    ReceiptVerbs,
    SuppressionVerbs,
):
    """Of `IngestStore`, `LaneStore` and `QueryStore`."""

    async def read_generations(self) -> list[Generation]:
        """Return every generation, oldest first; at SERIAL."""
        return await generations.read_all(self._session)

    async def read_restored_at(self) -> Instant | None:
        """Return when the keyspace was last restored by its operator's word, None if never."""
        return await restores.newest(self._session)
