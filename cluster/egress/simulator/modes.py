"""How the provider treats each request: by rules, and by a seed where they leave a choice.

The choice depends on the seed, the key and how often the key was seen, on nothing else; so a run
can be repeated, and a key that hangs once does not hang for ever.
"""

from collections.abc import Mapping
from enum import StrEnum
from fnmatch import fnmatchcase
from hashlib import blake2b
from typing import Final, TypeVar

import msgspec


class Mode(StrEnum):
    """What happens to one request.  Processed: taken, and in the log as taken."""

    ACCEPT = "accept"
    REFUSE = "refuse"
    GONE = "gone"  # refused, and never again
    THROTTLE = "throttle"  # not processed: come later
    REDIRECT = "redirect"  # not processed: go elsewhere
    HANG_BEFORE = "hang_before"  # not processed, no answer
    HANG_AFTER = "hang_after"  # processed, no answer
    RESET_BEFORE = "reset_before"  # not processed, the connection breaks
    RESET_AFTER = "reset_after"  # processed, the connection breaks
    ERROR_BEFORE = "error_before"  # not processed, the answer says that something broke
    ERROR_AFTER = "error_after"  # processed, the answer says that something broke
    LATE = "late"  # processed, the answer takes its time


PROCESSED: Final = frozenset(
    {Mode.ACCEPT, Mode.HANG_AFTER, Mode.RESET_AFTER, Mode.ERROR_AFTER, Mode.LATE}
)


class ReceiptMode(StrEnum):
    """When the provider says what became of a message that it took."""

    NEVER = "never"
    ONCE = "once"
    TWICE = "twice"
    EARLY = "early"  # before it answers


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What matches both patterns is treated by these modes, weighted."""

    modes: Mapping[Mode, float]
    recipient: str = "*"
    channel: str = "*"
    first: int | None = None  # only this many requests of a key; later ones go to the next rule


class RateLimit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """More than this is throttled, whatever the rules say."""

    per_second: int
    burst: int = 0


class Receipts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Receipts by callback."""

    url: str
    modes: Mapping[ReceiptMode, float] = msgspec.field(
        default_factory=lambda: {ReceiptMode.ONCE: 1.0}
    )
    delay_s: float = 0.2
    failed: float = 0.0  # the part of receipts that say so
    secret: str = ""  # that callbacks are signed with, as webhooks are


class Behaviour(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that can be told to a provider; without rules it accepts."""

    rules: tuple[Rule, ...] = ()
    keyed: bool = True  # drops what it took under the same key
    rate: RateLimit | None = None
    retry_after_s: int = 1
    late_s: float = 2.0
    hang_s: float = 120.0
    receipts: Receipts | None = None


_Choice = TypeVar("_Choice", bound=StrEnum)
_behaviour: Final = msgspec.json.Decoder(Behaviour).decode


def parse_behaviour(text: str) -> Behaviour:
    """Return the behaviour of a JSON object, or of weights like `accept=9,refuse=1`.

    Raises ValueError, which says what is wrong.
    """
    if text.lstrip().startswith("{"):
        try:
            return _behaviour(text)
        except msgspec.MsgspecError as error:
            raise ValueError(str(error)) from None
    weights: dict[Mode, float] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, weight = part.partition("=")
        weights[Mode(name.strip())] = float(weight or 1)
    return Behaviour(rules=(Rule(modes=weights),) if weights else ())


class Chooser:
    """Chooses with a seed."""

    def __init__(self, behaviour: Behaviour, seed: int) -> None:
        self.behaviour = behaviour
        self._seed = seed

    def mode(self, *, key: str, seen_before: int, recipient: str, channel: str) -> Mode:
        """Return how to treat a request whose key came `seen_before` times before."""
        for rule in self.behaviour.rules:
            if (
                (rule.first is None or seen_before < rule.first)
                and fnmatchcase(recipient, rule.recipient)
                and fnmatchcase(channel, rule.channel)
            ):
                return _weighted(rule.modes, self._draw("mode", key, seen_before), Mode.ACCEPT)
        return Mode.ACCEPT

    def receipt(self, *, key: str) -> tuple[ReceiptMode, bool]:
        """Return when to send a message's receipt, and whether it says delivered."""
        receipts = self.behaviour.receipts
        if receipts is None:
            return ReceiptMode.NEVER, True
        mode = _weighted(receipts.modes, self._draw("receipt", key, 0), ReceiptMode.NEVER)
        return mode, self._draw("end", key, 0) >= receipts.failed

    def _draw(self, what: str, key: str, number: int) -> float:
        digest = blake2b(f"{self._seed}/{what}/{key}/{number}".encode(), digest_size=7).digest()
        return int.from_bytes(digest, "big") / 2**56


def _weighted(weights: Mapping[_Choice, float], draw: float, otherwise: _Choice) -> _Choice:
    left = draw * sum(weights.values())
    for choice, weight in weights.items():
        left -= weight
        if left < 0:
            return choice
    return otherwise
