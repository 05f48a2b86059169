"""Whether the core that owns a row serves the statements about it: counted where they are sent.

A connection says which core it reached, when it is made; which core owns a key is computed from the
servers' own ring, not from what we believe of it.  Of every few statements one is looked at, which
costs the others nothing.
"""

from collections import Counter
from typing import Any, Final, NamedTuple

from cluster.scylla.driver import Metadata, Request
from cluster.topology.murmur import KEY_BYTES
from cluster.topology.ring import Ring
from cluster.topology.shard import shard_of
from cluster.topology.token import token_of

# A prime, so that what is sent in a fixed order is all looked at.
_LOOK_EVERY: Final = 11


class Served(NamedTuple):
    """Of the statements that were looked at: by the owning core, and by others, by statement."""

    own: int
    elsewhere: dict[str, int]


class Alignment:
    """The counts of one session."""

    def __init__(self, metadata: Metadata, *, look_every: int = _LOOK_EVERY) -> None:
        self._metadata = metadata
        self._look_every = look_every
        self._seen = 0
        self._own = 0
        self._elsewhere: Counter[str] = Counter()
        self._ring_of: Any = None  # the token map that the ring was read from
        self._ring: Ring | None = None

    def is_due(self) -> bool:
        """Return whether the next statement is to be looked at."""
        self._seen += 1
        return self._seen % self._look_every == 0

    def note(self, name: str, request: Request, response: Any) -> None:  # noqa: ANN401
        """Count a statement that was answered; `response` is the driver's."""
        key, host, connection = request.routing_key, response._current_host, response._connection
        if key is None or len(key) != KEY_BYTES or host is None or connection is None:
            return
        sharding, ring = host.sharding_info, self._current_ring()
        if sharding is None or ring is None:
            return
        token = token_of(key)
        shard = shard_of(
            token,
            shard_count=sharding.shards_count,
            ignore_msb=sharding.sharding_ignore_msb,
        )
        owner = ring.owners[ring.position_of(token)]
        if owner == str(host.host_id) and shard == connection.features.shard_id:
            self._own += 1
        else:
            self._elsewhere[name] += 1

    def served(self) -> Served:
        """Return what was counted since the session was opened."""
        return Served(self._own, dict(self._elsewhere))

    def _current_ring(self) -> Ring | None:
        token_map = self._metadata.token_map
        if token_map is not self._ring_of:
            tokens: dict[str, list[int]] = {}
            for token, host in list(token_map.token_to_host_owner.items()):
                tokens.setdefault(str(host.host_id), []).append(token.value)
            self._ring, self._ring_of = Ring.of(tokens), token_map
        return self._ring
