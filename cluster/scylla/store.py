"""The store on ScyllaDB as the actors see it: `IngestStore`, `LaneStore` and `TopologySource`.

Every verb goes to partitions that lie on the core that it names, or on that of its lane; which
statement each sends, and what a repeat does, stands in `statements.cql`.
"""

from cluster.scylla.bodies import BodyVerbs
from cluster.scylla.session import ScyllaSession
from cluster.scylla.shared_verbs import SharedVerbs
from cluster.topology.generation import Core, Generation
from pipeline.limits import Windows
from pipeline.ports import Clock


class ScyllaStore(BodyVerbs, SharedVerbs):
    """The store of one process, for one event loop."""

    @classmethod
    async def open(
        cls, session: ScyllaSession, generation: Generation, *, clock: Clock, windows: Windows
    ) -> "ScyllaStore":
        """Return the store of a generation; the session is the caller's, and stays open."""
        return cls(session, generation, clock=clock, windows=windows)

    async def sweep(self, core: Core) -> None:
        """Do nothing: rows end by their time to live, and the server tidies itself."""
        self._known(core)
