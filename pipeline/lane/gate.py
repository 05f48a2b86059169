"""The connectors that the lanes of a channel may use, and how each of them is doing (design 5.4).

One gate serves all lanes of a channel in a process, so that what one lane learns of a provider
spares the others.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from pipeline.instant import DurationMs, Instant
from pipeline.lifecycle import Event
from pipeline.limits import KEY_LIFE_MS, REFERENCE_CHARS_MAX
from pipeline.message import MessageId
from pipeline.outcome import Outcomes, ProviderClass, ReceiptsBy
from pipeline.route.connector_choice import Choice, ConnectorChoice, ConnectorRoute
from pipeline.route.provider_class import OWNER_LOST, Verdict, judge, key_outlives
from pipeline.route.provider_health import Health, HealthRule, ProviderHealth
from pipeline.route.receipts import ReceiptTerms

_HEALTH: Final = HealthRule()
_RECEIPTS: Final = ReceiptTerms()
_ANSWERS: Final = bytes([Event.TAKE, Event.REFUSE])
_NO_REFUSALS: Final[Mapping[int, Sequence[str]]] = {}
_NOBODY_ASKS: Final = frozenset({Verdict.AWAIT_RECEIPT, Verdict.AWAIT_ACT})


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectorTerms:
    """What an operator declares of a connector and its provider."""

    route: ConnectorRoute
    provider_class: ProviderClass
    has_receipts: bool = False
    receipts: ReceiptTerms = _RECEIPTS
    key_life_ms: DurationMs = DurationMs(KEY_LIFE_MS)
    health: HealthRule = _HEALTH
    # Of each lane, without outcome: a slow connector that dies leaves no more in doubt than this.
    claims_max: int | None = None


class Gate:
    """The connectors of one channel."""

    def __init__(self, channel: str, terms: Sequence[ConnectorTerms]) -> None:
        self._terms = {one.route.name: one for one in terms}
        self._choice = ConnectorChoice(channel, [one.route for one in terms])
        own = self._choice.names
        self.sole: tuple[str, ...] = tuple(own) if len(own) == 1 else ()
        self._health: Mapping[str, ProviderHealth] = {
            name: ProviderHealth(one.health) for name, one in self._terms.items()
        }

    def choose(
        self,
        message_ids: Sequence[MessageId],
        attempts: Sequence[int],
        *,
        now: Instant,
        refused_by: Mapping[int, Sequence[str]] = _NO_REFUSALS,
    ) -> Choice:
        """Choose a connector for each message; see `ConnectorChoice.choose`.

        Whose last fallback was taken out of the settings since is chosen for as if nobody had
        refused it: it fails when its connector says so again.
        """
        usable = self._usable(now)
        choice = self._choice.choose(message_ids, attempts, healthy=usable, refused_by=refused_by)
        if not choice.given_up:
            return choice
        left = {n: names for n, names in refused_by.items() if n not in set(choice.given_up)}
        return self._choice.choose(message_ids, attempts, healthy=usable, refused_by=left)

    def falls_back(self, connector: str, *, refused_by: Sequence[str]) -> bool:
        """Return whether a message that the connector refuses may go to another one.

        `refused_by`: who refused it before.
        """
        return self._choice.has_fallback((*refused_by, connector))

    def room(self, connector: str, *, now: Instant) -> int | None:
        """Return how many messages the connector may be given now, None for as many as one likes.

        One is a probe.
        """
        match self._health[connector].health(now):
            case Health.GREEN:
                return None
            case Health.YELLOW:
                return 1
            case Health.RED:
                return 0

    def room_again(self, connector: str, *, now: Instant) -> int | None:
        """Return the same for what it may have already; one that is switched off gets nothing."""
        is_off = not self._terms[connector].route.is_enabled
        return 0 if is_off and not self.is_queryable(connector) else self.room(connector, now=now)

    def claims_max(self, connector: str) -> int | None:
        """Return how many claims of a lane the connector may have at once, None for F."""
        terms = self._terms.get(connector)
        return None if terms is None else terms.claims_max

    def on_submit(self, connector: str, *, now: Instant) -> None:
        """Note that messages go to the connector; there must be room."""
        self._health[connector].on_submit(now)

    def on_outcomes(self, connector: str, outcomes: Outcomes, *, now: Instant) -> None:
        """Note what a connector said.

        What was not sent was kept back by ourselves, and who asks for a pause is well.
        """
        health = self._health.get(connector)
        if health is None:
            return
        if not outcomes.events.strip(_ANSWERS):
            health.on_answer()
            return
        events = bytes(
            event
            for n, event in enumerate(outcomes.events)
            if event != Event.NOT_SENT and n not in outcomes.retry_after_ms
        )
        if events:
            health.on_outcomes(events, now)

    def judge(self, connector: str, events: bytes, *, may_have_copy: bool) -> bytes:
        """Return a `Verdict` for each event; a key's life is the caller's to watch."""
        terms = self._terms.get(connector)
        if terms is None:
            # It was taken out of the settings: nobody can be asked, nobody deduplicates.
            return judge(
                events,
                provider_class=ProviderClass.NONE,
                has_receipts=False,
                may_have_copy=may_have_copy,
            )
        return judge(
            events,
            provider_class=terms.provider_class,
            has_receipts=terms.has_receipts,
            may_have_copy=may_have_copy,
        )

    def receipts(self, connector: str) -> ReceiptTerms | None:
        """Return how the connector's receipts name messages, None if none will come."""
        terms = self._terms.get(connector)
        return terms.receipts if terms is not None and terms.has_receipts else None

    def with_references(self, connector: str, outcomes: Outcomes) -> Outcomes:
        """Return the outcomes with no references but those that receipts will come by."""
        if not outcomes.references:
            return outcomes
        terms = self.receipts(connector)
        kept: Mapping[int, str] = {}
        if terms is not None and terms.by is ReceiptsBy.REFERENCE:
            kept = {
                n: text
                for n, text in outcomes.references.items()
                if len(text) <= REFERENCE_CHARS_MAX
            }
        return replace(outcomes, references=kept)

    def is_testified(self, connector: str) -> bool:
        """Return whether only the owner that handed a message over can know what became of it."""
        (verdict,) = self.judge(connector, bytes([OWNER_LOST]), may_have_copy=True)
        return verdict in _NOBODY_ASKS

    def is_queryable(self, connector: str) -> bool:
        """Return whether the provider is asked instead of given the message again."""
        return self._terms[connector].provider_class is ProviderClass.QUERYABLE

    def is_key_alive(
        self, connector: str, *, first_claimed_at: Instant, send_before: Instant
    ) -> bool:
        """Return whether a repeat with the same key meets a provider that knows it."""
        return key_outlives(
            first_claimed_at=first_claimed_at,
            key_life_ms=self._terms[connector].key_life_ms,
            send_before=send_before,
        )

    def _usable(self, now: Instant) -> frozenset[str]:
        return frozenset(
            name for name, health in self._health.items() if health.health(now) is not Health.RED
        )
