"""Gates of a channel with one connector, and lanes without limits."""

from collections.abc import Collection, Sequence
from dataclasses import replace

from pipeline.instant import DurationMs, Instant
from pipeline.lane.admission import Admission
from pipeline.lane.gate import ConnectorTerms, Gate
from pipeline.lane.suppressions import ListingTenants
from pipeline.lane_id import LaneId
from pipeline.limits import KEY_LIFE_MS
from pipeline.outcome import ProviderClass
from pipeline.route.connector_choice import ConnectorRoute
from pipeline.route.lease import PermitDesk
from pipeline.route.permits import LimitBook
from pipeline.route.provider_health import HealthRule
from pipeline.route.receipts import ReceiptTerms

LANE = LaneId(1, "n1", 0, "sms", "bulk-1")

# So patient that it never turns red.
PATIENT = HealthRule(failures_in_row_max=1_000_000)
_RECEIPTS = ReceiptTerms()


class NoLists(ListingTenants):
    """Knows at every instant that no tenant has a list."""

    def known(self, now: Instant) -> Collection[str]:
        return frozenset()


def gate_of(
    name: str = "file",
    *,
    provider_class: ProviderClass = ProviderClass.NONE,
    has_receipts: bool = False,
    receipts: ReceiptTerms = _RECEIPTS,
    key_life_ms: DurationMs = DurationMs(KEY_LIFE_MS),
    health: HealthRule = PATIENT,
    claims_max: int | None = None,
    fallback: Sequence[str] = (),
) -> Gate:
    """Return the gate of a channel whose only connector this is, but for its fallbacks.

    They are of the same class, and for another channel.
    """
    terms = terms_of(name, provider_class, has_receipts, key_life_ms, health)
    terms = replace(terms, claims_max=claims_max, receipts=receipts)
    own = replace(terms, route=replace(terms.route, fallback=tuple(fallback)))
    channels = frozenset({"rcs"})
    others = [
        replace(terms, route=replace(terms.route, name=other, channels=channels))
        for other in fallback
    ]
    return Gate("sms", [own, *others])


def terms_of(
    name: str,
    provider_class: ProviderClass = ProviderClass.NONE,
    has_receipts: bool = False,
    key_life_ms: DurationMs = DurationMs(KEY_LIFE_MS),
    health: HealthRule = PATIENT,
) -> ConnectorTerms:
    """Return what an operator declares of a connector of SMS."""
    return ConnectorTerms(
        route=ConnectorRoute(name=name, channels=frozenset({"sms"})),
        provider_class=provider_class,
        has_receipts=has_receipts,
        key_life_ms=key_life_ms,
        health=health,
    )


def unlimited(lane: LaneId = LANE) -> Admission:
    """Return the admission of a lane whose connectors have no limits."""
    return Admission(lane, book=LimitBook(), desk=PermitDesk("me"))
