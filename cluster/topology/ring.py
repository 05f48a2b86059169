"""The ring: which node owns a token.

A node owns, for each of its tokens, the range from the ring's previous token (exclusive) up to and
including its own; the range of the first token wraps around.  So the owner is that of the first
ring token that is not smaller.  This is the *token owner*; replicas are a keyspace's matter.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cluster.topology.murmur import Int64Array
from cluster.topology.token import TOKEN_MAX, TOKEN_MIN, Token


class TokenRange(NamedTuple):
    """The tokens with after < token <= through; never wraps around."""

    after: Token
    through: Token


@dataclass(frozen=True, slots=True, repr=False)
class Ring:
    """The tokens of a ring in ascending order, and the name of the node that has each.

    Raises ValueError if there is none, if they are not ascending and distinct, or if one does not
    fit into 64 bits.
    """

    tokens: tuple[Token, ...]
    owners: tuple[str, ...]
    _column: Int64Array = field(init=False, compare=False)

    def __post_init__(self) -> None:
        if not self.tokens:
            raise ValueError("a ring has at least one token")
        if len(self.tokens) != len(self.owners):
            raise ValueError(f"{len(self.tokens)} tokens have {len(self.owners)} owners")
        if self.tokens[0] < TOKEN_MIN or self.tokens[-1] > TOKEN_MAX:
            raise ValueError("a token of the ring does not fit into 64 bits")
        for smaller, larger in zip(self.tokens, self.tokens[1:], strict=False):
            if smaller == larger:
                raise ValueError(f"token {larger} is in the ring twice")
            if smaller > larger:
                raise ValueError(f"token {larger} of the ring stands behind token {smaller}")
        object.__setattr__(self, "_column", np.array(self.tokens, dtype=np.int64))

    def __repr__(self) -> str:
        # A real ring has thousands of tokens; nobody wants them in a log line.
        return f"<Ring of {len(set(self.owners))} nodes with {len(self.tokens)} tokens>"

    @classmethod
    def of(cls, tokens_by_node: Mapping[str, Iterable[int]]) -> "Ring":
        """Return the ring on which each node has these tokens, given in any order."""
        pairs = sorted(
            (Token(token), node) for node, tokens in tokens_by_node.items() for token in tokens
        )
        return cls(tuple(token for token, _ in pairs), tuple(node for _, node in pairs))

    def owner_of(self, token: Token) -> str:
        """Return the name of the node that owns the token."""
        return self.owners[self.position_of(token)]

    def position_of(self, token: Token) -> int:
        """Return the index, into `tokens` and `owners`, of the range that holds the token."""
        position = bisect_left(self.tokens, token)
        return position if position < len(self.tokens) else 0

    def positions_of(self, tokens: Int64Array) -> npt.NDArray[np.intp]:
        """Return `position_of` of each token."""
        positions = np.searchsorted(self._column, tokens, side="left")
        positions[positions == len(self.tokens)] = 0
        return positions

    def share_of(self, node: str) -> float:
        """Return which share of all tokens a node owns."""
        owned = sum(held.through - held.after for held in self.ranges_of(node))
        return owned / (TOKEN_MAX - TOKEN_MIN)

    def ranges_of(self, node: str) -> list[TokenRange]:
        """Return the ranges that a node owns, ascending; the one that wraps around is two."""
        ranges = []
        if self.owners[0] == node:
            ranges.append(TokenRange(TOKEN_MIN, self.tokens[0]))
        for position in range(1, len(self.tokens)):
            if self.owners[position] == node:
                ranges.append(TokenRange(self.tokens[position - 1], self.tokens[position]))
        if self.owners[0] == node:
            ranges.append(TokenRange(self.tokens[-1], TOKEN_MAX))
        return [held for held in ranges if held.after < held.through]
