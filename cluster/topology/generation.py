"""A generation: an immutable picture of the ring, numbered, with a start time.

Whoever has the same generation places every key on the same core, and forges the same keys for a
core.  So it is decided once, stored in its encoded form, and read by everybody; nothing else about
the cluster (addresses, state, load) belongs here.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from cluster.topology import generation_form
from cluster.topology.forge import forge_key, forge_keys
from cluster.topology.generation_form import GenerationInvalid, GenerationTooNew
from cluster.topology.murmur import Uint64Array
from cluster.topology.ring import Ring
from cluster.topology.shard import IGNORE_MSB_MAX, SHARD_COUNT_MAX, shard_of, shards_of
from cluster.topology.territory import Territory
from cluster.topology.token import token_of, tokens_of

__all__ = [
    "Core",
    "CoreOwnsNothing",
    "CoreUnknown",
    "Generation",
    "GenerationInvalid",
    "GenerationTooNew",
    "Node",
]

# Columns cost about 40 us a call whatever their length, one key alone less than 1 us.
_COLUMN_KEYS_MIN: Final = 48
_NODE_NAME: Final = re.compile(r"[A-Za-z0-9-]+")


class CoreUnknown(ValueError):
    """The caller's core is not of this generation; it must read the generations again."""


class CoreOwnsNothing(ValueError):
    """No key can lie on this core: its node's ranges hold no token of its shard."""


class Core(NamedTuple):
    """One core of one node: the unit that serves a token."""

    node: str
    shard: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A server as the placement sees it; raises ValueError if a field is out of range."""

    name: str  # [A-Za-z0-9-]+
    shard_count: int
    ignore_msb: int

    def __post_init__(self) -> None:
        if not _NODE_NAME.fullmatch(self.name):
            raise ValueError(f"a node's name is made of letters, digits and -, not {self.name!r}")
        if not 1 <= self.shard_count <= SHARD_COUNT_MAX:
            raise ValueError(f"node {self.name}: shard_count {self.shard_count} is out of range")
        if not 0 <= self.ignore_msb <= IGNORE_MSB_MAX:
            raise ValueError(f"node {self.name}: ignore_msb {self.ignore_msb} is out of range")


class _Placement:
    """What is derived from nodes and ring, column by column, for the batch forms."""

    def __init__(self, nodes: tuple[Node, ...], ring: Ring) -> None:
        self.nodes = {node.name: node for node in nodes}
        self.cores = tuple(
            Core(node.name, shard) for node in nodes for shard in range(node.shard_count)
        )
        self.core_indexes = {core: index for index, core in enumerate(self.cores)}
        first_cores = {node.name: self.core_indexes[Core(node.name, 0)] for node in nodes}
        # Of the owner of each range of the ring:
        owners = [self.nodes[name] for name in ring.owners]
        self.owners = owners
        self.first_cores = [first_cores[name] for name in ring.owners]
        self.first_cores_column = np.array(self.first_cores, dtype=np.intp)
        self.shard_counts = np.array([node.shard_count for node in owners], dtype=np.uint64)
        self.ignore_msbs = np.array([node.ignore_msb for node in owners], dtype=np.uint64)
        self.territories: dict[Core, Territory] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """Nodes and ring, valid from `starts_at` until the next generation starts.

    The nodes are kept in the order of their names.  Raises ValueError if a field is out of range,
    if two nodes have one name, or if the ring names a node that is not there.  A node without a
    token is allowed: its cores own nothing.
    """

    number: int  # from 1
    starts_at: int  # microseconds since the epoch
    prompt_ms: int  # P, as the owners of this generation's lanes must have it
    nodes: tuple[Node, ...]
    ring: Ring
    _placement: _Placement = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.number < 1:
            raise ValueError(f"a generation's number starts at 1, not {self.number}")
        if self.starts_at < 0 or self.prompt_ms < 0:
            raise ValueError("starts_at and prompt_ms are not negative")
        names = [node.name for node in self.nodes]
        if len(set(names)) != len(names):
            raise ValueError("two nodes have the same name")
        if strangers := set(self.ring.owners).difference(names):
            raise ValueError(f"the ring names {min(strangers)!r}, which is not a node")
        # One order, so that the index of a core is the same for whoever drew this picture.
        object.__setattr__(self, "nodes", tuple(sorted(self.nodes, key=lambda node: node.name)))
        object.__setattr__(self, "_placement", _Placement(self.nodes, self.ring))

    def __reduce__(self) -> tuple[object, tuple[bytes]]:
        # What is derived is derived again: it is many times larger than what it comes from.
        return Generation.decode, (self.encode(),)

    @property
    def cores(self) -> tuple[Core, ...]:
        """Every core, in the order of node names and shards; `core_indexes_of` points here."""
        return self._placement.cores

    def index_of(self, core: Core) -> int:
        """Return the index of a core in `cores`; raises `CoreUnknown` if it is not there."""
        try:
            return self._placement.core_indexes[core]
        except KeyError:
            raise CoreUnknown(f"{core} is not in generation {self.number}") from None

    def core_of(self, key: bytes) -> Core:
        """Return the core that serves a key; raises ValueError unless the key is 16 bytes long."""
        return self._placement.cores[self._core_index_of(key)]

    def core_indexes_of(self, keys: Sequence[bytes]) -> npt.NDArray[np.intp]:
        """Return, for each key, the index of its core in `cores`; raises as `core_of` does."""
        if len(keys) < _COLUMN_KEYS_MIN:
            return np.array([self._core_index_of(key) for key in keys], dtype=np.intp)
        placement = self._placement
        tokens = tokens_of(keys)
        positions = self.ring.positions_of(tokens)
        indexes = shards_of(
            tokens,
            shard_counts=placement.shard_counts[positions],
            ignore_msbs=placement.ignore_msbs[positions],
        )
        indexes += placement.first_cores_column[positions]
        return indexes

    def owns_nothing(self, core: Core) -> bool:
        """Return whether no token at all lies on this core; raises `CoreUnknown`.

        Possible with few ring tokens or many shards, and for a node that has no token.
        """
        return self.token_count(core) == 0

    def token_count(self, core: Core) -> int:
        """Return the number of tokens that lie on this core; raises `CoreUnknown`."""
        return self._territory(core).token_count

    def forged_key(self, core: Core, nonce: int) -> bytes:
        """Return a key that lies on the core: the same for the same nonce, else another.

        `nonce` is in [0, 2^64), else ValueError.  Raises `CoreUnknown` and `CoreOwnsNothing`.
        """
        return forge_key(self._owning_territory(core).token_for(nonce), nonce)

    def forged_keys(self, core: Core, nonces: Sequence[int] | Uint64Array) -> list[bytes]:
        """Return `forged_key` of each nonce, in order; raises as it does."""
        territory = self._owning_territory(core)
        if isinstance(nonces, np.ndarray):
            # A cast would turn negative numbers into nonces that nobody asked for.
            if nonces.dtype != np.uint64:
                raise ValueError(f"an array of nonces is uint64, not {nonces.dtype}")
            column = nonces
        else:
            try:
                column = np.array(nonces, dtype=np.uint64)
            except OverflowError as error:
                raise ValueError("a nonce is in [0, 2^64)") from error
        return forge_keys(territory.tokens_for(column), column)

    def encode(self) -> bytes:
        """Return the stable form, which `decode` of this and every later version reads."""
        tokens: dict[str, list[int]] = {node.name: [] for node in self.nodes}
        for token, owner in zip(self.ring.tokens, self.ring.owners, strict=True):
            tokens[owner].append(token)
        return generation_form.encode(
            generation_form.GenerationForm(
                number=self.number,
                starts_at=self.starts_at,
                prompt_ms=self.prompt_ms,
                nodes=[
                    generation_form.NodeForm(
                        name=node.name,
                        shard_count=node.shard_count,
                        ignore_msb=node.ignore_msb,
                        tokens=tokens[node.name],
                    )
                    for node in self.nodes
                ],
            )
        )

    @classmethod
    def decode(cls, encoded: bytes) -> "Generation":
        """Return the generation of its stable form.

        Raises `GenerationTooNew` for the form of a later program, `GenerationInvalid` for bytes
        that are no generation.
        """
        form = generation_form.decode(encoded)
        try:
            return cls(
                number=form.number,
                starts_at=form.starts_at,
                prompt_ms=form.prompt_ms,
                nodes=tuple(
                    Node(name=node.name, shard_count=node.shard_count, ignore_msb=node.ignore_msb)
                    for node in form.nodes
                ),
                ring=Ring.of({node.name: node.tokens for node in form.nodes}),
            )
        except ValueError as error:
            raise GenerationInvalid(f"not a generation: {error}") from error

    def _core_index_of(self, key: bytes) -> int:
        token = token_of(key)
        position = self.ring.position_of(token)
        node = self._placement.owners[position]
        shard = shard_of(token, shard_count=node.shard_count, ignore_msb=node.ignore_msb)
        return self._placement.first_cores[position] + shard

    def _owning_territory(self, core: Core) -> Territory:
        territory = self._territory(core)
        if territory.token_count == 0:
            raise CoreOwnsNothing(f"{core} owns no token in generation {self.number}")
        return territory

    def _territory(self, core: Core) -> Territory:
        # Made at the first use: most processes forge keys for a few cores of a cluster only.
        territory = self._placement.territories.get(core)
        if territory is None:
            self.index_of(core)
            node = self._placement.nodes[core.node]
            territory = self._placement.territories[core] = Territory(
                self.ring.ranges_of(core.node),
                shard=core.shard,
                shard_count=node.shard_count,
                ignore_msb=node.ignore_msb,
            )
        return territory
