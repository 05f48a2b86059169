"""What an answer proves, and what follows where a message may be with its provider already.

An outcome is proof only if no other copy of the attempt can exist.  A copy can exist after an
answer that was lost, and always after the claim was recovered from another epoch: its owner may
have handed it over, or may still be about to.  Then only the provider's word that it took the
message ends the matter; a refusal, a deferral or a failed connection speak of this copy, not of the
other one.  What follows is a matter of what the provider can do about repeats, its class:

    K  deduplicates by our key     the same key to the same connector, while the key lives
    Q  can be asked by our id      ask: found is sent; not found proves nothing, a copy may travel
    C  returns our id in receipts  uncertain; a receipt settles it
    0  nothing                     uncertain; only an explicit, audited act resends

Verdicts are small numbers and events are bytes, so that a window of them is judged by one
translation; see `judge`.
"""

from collections.abc import Mapping
from enum import IntEnum
from functools import cache
from types import MappingProxyType
from typing import Final

from pipeline.instant import DurationMs, Instant, later
from pipeline.lifecycle import Event
from pipeline.limits import KEY_LIFE_MARGIN_MS
from pipeline.outcome import OUTCOME_EVENTS, ProviderClass


class Verdict(IntEnum):
    """What a lane does with a claimed message."""

    TAKEN = 1  # the provider has it
    REFUSED = 2  # proof: failed, unless another connector may take it
    FREE = 3  # proof: with nobody; another attempt, by any connector
    RESEND_SAME_KEY = 4  # the same key, by the same connector
    ASK = 5  # uncertain until the provider is asked and has it; asked again, never resent
    AWAIT_RECEIPT = 6  # uncertain until a receipt comes
    AWAIT_ACT = 7  # uncertain until somebody resolves it


# A claim without outcome whose owner is gone: it has no event, and stands among them as one.
OWNER_LOST: Final = 0
assert OWNER_LOST not in set(Event)

_V = Verdict

# No copy but this one can exist: the answer is about the message.
_PROOF: Final[Mapping[int, Verdict]] = MappingProxyType(
    {
        Event.TAKE: _V.TAKEN,
        Event.REFUSE: _V.REFUSED,
        Event.DEFER: _V.FREE,
        Event.NOT_SENT: _V.FREE,
    }
)

_IN_DOUBT: Final[Mapping[ProviderClass, Verdict]] = MappingProxyType(
    {
        ProviderClass.KEYED: _V.RESEND_SAME_KEY,
        ProviderClass.QUERYABLE: _V.ASK,
        ProviderClass.CORRELATED: _V.AWAIT_RECEIPT,
        ProviderClass.NONE: _V.AWAIT_ACT,
    }
)
assert set(_IN_DOUBT) == set(ProviderClass)


def judge(
    events: bytes,
    *,
    provider_class: ProviderClass,
    has_receipts: bool,
    may_have_copy: bool,
    is_key_alive: bool = True,
) -> bytes:
    """Return one `Verdict` for each outcome event, or `OWNER_LOST`, in their order.

    `may_have_copy`: an answer to this attempt was lost before, or its claim was recovered from
    another epoch; then it stays true until the message is settled.  `is_key_alive` (see
    `key_outlives`) counts for class K only.  Other events become 0.
    """
    return events.translate(_table(provider_class, has_receipts, may_have_copy, is_key_alive))


@cache  # 32 tables
def _table(
    provider_class: ProviderClass, has_receipts: bool, may_have_copy: bool, is_key_alive: bool
) -> bytes:
    doubt = _IN_DOUBT[provider_class]
    if doubt is _V.RESEND_SAME_KEY and not is_key_alive:
        # The provider has forgotten the key, if it ever saw it: a repeat would be a second message.
        doubt = _V.AWAIT_ACT
    if doubt is _V.AWAIT_ACT and has_receipts:
        doubt = _V.AWAIT_RECEIPT
    table = bytearray(256)
    for event in (OWNER_LOST, *OUTCOME_EVENTS):
        is_proof = event in _PROOF and (event == Event.TAKE or not may_have_copy)
        table[event] = _PROOF[event] if is_proof else doubt
    return bytes(table)


def key_outlives(
    *, first_claimed_at: Instant, key_life_ms: DurationMs, send_before: Instant
) -> bool:
    """Return whether a key handed over as late as `send_before` meets a provider that knows it.

    The provider saw it first after `first_claimed_at`, if at all, so its life ends no earlier than
    counted from there; the margin is for a request that travels long, and for two clocks.
    """
    return later(send_before, KEY_LIFE_MARGIN_MS) < later(first_claimed_at, key_life_ms)
