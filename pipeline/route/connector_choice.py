"""Which connector a message is handed to.

Several connectors of a channel share its messages by weight.  The choice is a hash of the id and
the attempt: no counter to keep, the same for whoever asks again, another one for the next attempt.
Each connector that may be used now has a score for the message and the best one wins
(weighted rendezvous), so that a connector that fails hands its share to the others and takes
nothing else with it.

Not every message may go where it likes:

- One that may be with a provider already (class K, an answer was lost) stays on its connector; it
  waits there, whatever the connector's state, until it is settled.
- One that a connector refused for good goes along the connectors that this one declares as its
  fallback, in their order, also of other channels.  What is proof is decided in `provider_class`;
  here it is only believed.  The others of its channel are none of them by themselves: they share
  its load, and would mostly refuse the same message.
- While no connector of the channel is switched on and well, new messages take the same way.  That
  one has no permits is no reason: what is too fast for a channel waits.

A switched-off connector (the kill switch) gets nothing at all, and neither does one that is red.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import inf, log
from typing import Final, NamedTuple

import mmh3

from pipeline.errors import SettingInvalid
from pipeline.limits import CONNECTOR_WEIGHT_MAX, FALLBACKS_MAX
from pipeline.message import MessageId

_NOTHING: Final[Mapping[int, str]] = {}
_NOBODY: Final[Mapping[int, Sequence[str]]] = {}
_HASHES: Final = 2.0**32


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectorRoute:
    """A connector as the choice sees it, from the settings."""

    name: str
    channels: frozenset[str]  # empty: what no other connector names
    weight: int = 1  # 0: nothing but what falls back to it
    is_enabled: bool = True
    fallback: tuple[str, ...] = ()  # where what it certainly did not take may go, in this order

    def __post_init__(self) -> None:
        assert 0 <= self.weight <= CONNECTOR_WEIGHT_MAX
        assert len(self.fallback) <= FALLBACKS_MAX


class Choice(NamedTuple):
    """Where the messages of a window go, by position; every position is in one of the three."""

    by_connector: Mapping[str, Sequence[int]]
    waiting: Sequence[int]  # may be chosen for again later
    given_up: Sequence[int]  # every connector that it may go to certainly did not take it


class ConnectorChoice:
    """The connectors of one channel.  Made anew when the settings change.

    Raises `SettingInvalid` if a fallback is no connector.
    """

    def __init__(self, channel: str, routes: Sequence[ConnectorRoute]) -> None:
        self._enabled = frozenset(route.name for route in routes if route.is_enabled)
        sharing = [route for route in routes if route.weight]
        named = [route for route in sharing if channel in route.channels]
        own = named or [route for route in sharing if not route.channels]
        self._own = {route.name: route.weight for route in own}
        self._fallback = {route.name: route.fallback for route in own}
        known = {route.name for route in routes}
        for route in own:
            for name in route.fallback:
                if name not in known or name == route.name:
                    raise SettingInvalid(
                        f"connectors.{route.name}.fallback names {name!r}, which is no other"
                        " connector"
                    )

    @property
    def names(self) -> Sequence[str]:
        """Every connector that a message of the channel may reach, its own ones first."""
        reached = [name for names in self._fallback.values() for name in names]
        return list(dict.fromkeys((*self._own, *reached)))

    def choose(
        self,
        message_ids: Sequence[MessageId],
        attempts: Sequence[int],
        *,
        healthy: Collection[str],
        full: Collection[str] = (),
        held: Mapping[int, str] = _NOTHING,
        refused_by: Mapping[int, Sequence[str]] = _NOBODY,
    ) -> Choice:
        """Choose for a window; `full` are the connectors that have no permits at the moment.

        By position: `held` names the connector that may have the message already, `refused_by`
        those that refused it for good, in the order in which they did.
        """
        usable = self._enabled.intersection(healthy)
        ready = usable.difference(full)
        own = {name: weight for name, weight in self._own.items() if name in ready}
        everything = range(len(message_ids))
        if not held and not refused_by:
            # The most common windows by far.
            if len(own) == 1:
                return Choice(dict.fromkeys(own, everything), (), ())
            if not own and not usable.isdisjoint(self._own):
                return Choice({}, everything, ())
        chosen: dict[str, list[int]] = {}
        waiting: list[int] = []
        given_up: list[int] = []
        falls_back = usable.isdisjoint(self._own)
        for position in everything:
            name: str | None
            if position in held:
                name = held[position] if held[position] in ready else None
            elif refusals := refused_by.get(position):
                left = [other for other in self._after(refusals[0]) if other not in refusals]
                if not left:
                    given_up.append(position)
                    continue
                name = next((other for other in left if other in ready), None)
            elif falls_back:
                first = _best(message_ids[position], attempts[position], self._own)
                name = next((other for other in self._after(first) if other in ready), None)
            else:
                name = _best(message_ids[position], attempts[position], own)
            if name is None:
                waiting.append(position)
            else:
                chosen.setdefault(name, []).append(position)
        return Choice(chosen, waiting, given_up)

    def has_fallback(self, refusals: Sequence[str]) -> bool:
        """Return whether a message may go anywhere that these refused, the first one first.

        One that is switched off counts for nothing; one that is out of order is waited for.
        """
        return any(
            name in self._enabled and name not in refusals for name in self._after(refusals[0])
        )

    def _after(self, name: str | None) -> Sequence[str]:
        """Return the fallbacks of a connector; what came from elsewhere has none of its own."""
        return self._fallback.get(name, ()) if name is not None else ()


def _best(message_id: MessageId, attempt: int, weights: Mapping[str, int]) -> str | None:
    """Return the connector with the best score for the message, None if there is none."""
    if len(weights) <= 1:
        return next(iter(weights), None)
    best, least = None, inf
    for name, weight in weights.items():
        hashed = mmh3.hash(message_id + name.encode(), attempt, signed=False)
        # Exponentially distributed, at a rate of the weight: the least of some is one's own with a
        # probability of its part of all weights.
        score = -log((hashed + 0.5) / _HASHES) / weight
        if score < least:
            best, least = name, score
    return best
