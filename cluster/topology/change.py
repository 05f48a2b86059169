"""When a ring that looks different becomes the next generation."""

from cluster.topology.generation import Generation, Node
from cluster.topology.ring import Ring


class RingWatch:
    """Compares what is seen of the ring with the newest generation, look by look.

    One look proves little: while nodes join, each look may differ from the one before.  So a change
    counts when two looks in a row agree about it; until then it is seen, and nothing follows.
    """

    def __init__(self) -> None:
        self._seen: tuple[tuple[Node, ...], Ring] | None = None

    def next_generation(
        self, newest: Generation, nodes: tuple[Node, ...], ring: Ring, *, starts_at: int
    ) -> Generation | None:
        """Return the generation to publish after a look, None if there is none.

        It starts at `starts_at`, and always after `newest`: generations are chosen by time.
        """
        before, self._seen = self._seen, _picture(nodes, ring)
        if self._seen == _picture(newest.nodes, newest.ring) or self._seen != before:
            return None
        return Generation(
            number=newest.number + 1,
            starts_at=max(starts_at, newest.starts_at + 1),
            prompt_ms=newest.prompt_ms,
            nodes=nodes,
            ring=ring,
        )


def _picture(nodes: tuple[Node, ...], ring: Ring) -> tuple[tuple[Node, ...], Ring]:
    # Nodes come in any order from outside; a generation keeps them by name.
    return tuple(sorted(nodes, key=lambda node: node.name)), ring
