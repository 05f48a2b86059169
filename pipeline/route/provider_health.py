"""Whether a provider should get more work.  A pure, sans-I/O algorithm.

Failures are counted over the last answers, not over a span of time, so that a provider with little
traffic is judged by the same rule as a busy one.  When they are too many in a row, the provider is
left alone for a cooldown; then one message may go as a probe, and no second one before another
cooldown has passed.  So a probe whose outcome never comes costs a cooldown, not the provider.  Each
cooldown is twice the one before, up to a cap: what probes cost where the provider takes messages
and never answers, each of them an `uncertain` one, is bounded.

A refusal is an answer: the provider is well, the message is not.  A failure is an answer that was
lost, a connection that failed, or a provider that said that it cannot now.  That it is being asked
too often is no failure; the limiter deals with that.

A connector that speaks to many places (webhooks, mail servers) fails as a whole only if several of
them do: one dead place with a long backlog must not stop the others.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pipeline.instant import DurationMs, Instant, later
from pipeline.lifecycle import Event
from pipeline.limits import (
    HEALTH_COOLDOWN_MS_MAX,
    HEALTH_COOLDOWN_MS_MIN,
    HEALTH_FAILURES_IN_ROW_MAX,
    HEALTH_PLACES_MIN_MAX,
)


class Health(StrEnum):
    """What the lane should make of a provider."""

    GREEN = "green"  # send
    YELLOW = "yellow"  # one probe may go
    RED = "red"  # leave it alone


# Of the outcomes, TAKE and REFUSE are answers.
_FAILURES: Final = bytes([Event.LOSE_ANSWER, Event.NOT_SENT, Event.DEFER])


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthRule:
    """When a provider turns red, and for how long."""

    failures_in_row_max: int = HEALTH_FAILURES_IN_ROW_MAX
    cooldown_ms_min: DurationMs = DurationMs(HEALTH_COOLDOWN_MS_MIN)
    cooldown_ms_max: DurationMs = DurationMs(HEALTH_COOLDOWN_MS_MAX)
    places_min: int = 1  # how many different places must have failed among those in a row

    def __post_init__(self) -> None:
        assert self.failures_in_row_max >= 1
        assert 0 < self.cooldown_ms_min <= self.cooldown_ms_max
        assert 1 <= self.places_min <= HEALTH_PLACES_MIN_MAX


class ProviderHealth:
    """What is known of one provider, from its answers."""

    def __init__(self, rule: HealthRule) -> None:
        self._rule = rule
        self._failures_in_row = 0
        self._places: set[str] = set()
        self._cooldown_ms = 0
        self._red_since = Instant(0)
        self._red_until: Instant | None = None

    def health(self, now: Instant) -> Health:
        """Return how the provider looks at `now`.  Asking changes nothing."""
        if self._red_until is None:
            return Health.GREEN
        # Before it began the clock was set back, and the cooldown may lie years ahead.
        return Health.RED if self._red_since <= now < self._red_until else Health.YELLOW

    def on_submit(self, now: Instant) -> None:
        """Note that messages go to the provider; on yellow it is one, the probe."""
        match self.health(now):
            case Health.GREEN:
                pass
            case Health.YELLOW:
                self._cool_down(now)
            case Health.RED:
                raise AssertionError("nothing is sent to a red provider")

    def on_outcomes(self, events: bytes, now: Instant, *, place: str = "") -> None:
        """Note the outcomes of messages to one place, in the order in which they came.

        A deferral by throttling is to be left out, and a message that was not sent for a reason of
        our own.
        """
        failures = len(events) - len(events.rstrip(_FAILURES))
        if failures < len(events):
            self.on_answer()
        if failures:
            self.on_failure(now, count=failures, place=place)

    def on_answer(self) -> None:
        """Note that the provider took a message or refused it: it is alive either way."""
        self._failures_in_row = 0
        self._places.clear()
        self._cooldown_ms = 0
        self._red_until = None

    def on_failure(self, now: Instant, *, count: int = 1, place: str = "") -> None:
        """Note that the provider did not answer, or said that it cannot now."""
        self._failures_in_row += count
        if len(self._places) < self._rule.places_min:
            self._places.add(place)
        if (
            self._failures_in_row >= self._rule.failures_in_row_max
            and len(self._places) >= self._rule.places_min
            # What was under way when it turned red says nothing new.
            and self.health(now) is not Health.RED
        ):
            self._cool_down(now)

    def _cool_down(self, now: Instant) -> None:
        self._cooldown_ms = min(
            max(2 * self._cooldown_ms, self._rule.cooldown_ms_min), self._rule.cooldown_ms_max
        )
        self._red_since = now
        self._red_until = later(now, self._cooldown_ms)
