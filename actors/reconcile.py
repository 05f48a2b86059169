"""What the registry should do, from what should run and what does.  Pure.

Level-triggered: it compares two pictures and knows nothing of events, so that a registry that was
restarted goes on from what it sees.  A place has at most one actor; a second one (Ray may keep two
for minutes) is killed, the protocol keeps both harmless until then.
"""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Final

from actors.names import ActorKey
from pipeline.instant import Instant, later
from pipeline.limits import (
    ACTOR_HEALTH_STRIKES_MAX,
    ACTOR_START_BACKOFF_MS_MAX,
    ACTOR_START_BACKOFF_MS_MIN,
    ACTOR_START_TIMEOUT_MS,
)

_LONG_AGO: Final = Instant(0)


@dataclass(slots=True, kw_only=True)
class Incarnation:
    """One actor as the registry sees it."""

    key: ActorKey
    name: str
    first_seen: Instant
    is_running: bool = False  # it has answered once
    strikes: int = 0  # questions in a row that it did not answer in time
    failure: str = ""  # what it said of itself, if it failed
    lanes_count: int = 0  # that it owned when it was last heard
    is_ending: bool = False  # it was asked to, or says so


@dataclass(frozen=True, slots=True)
class Create:
    """Start an actor for the place."""

    key: ActorKey


@dataclass(frozen=True, slots=True)
class Kill:
    """End the actor of this name; another one follows at a later round."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class End:
    """Ask the actor of this name to finish what it has begun, then end it."""

    name: str
    reason: str


Step = Create | Kill | End


@dataclass(slots=True)
class Backoff:
    """When a place may be filled again; a place that keeps failing is tried ever more rarely."""

    delay_ms: int = 0
    not_before: Instant = _LONG_AGO

    def on_created(self, now: Instant) -> None:
        """Note a start."""
        self.delay_ms = min(
            max(2 * self.delay_ms, ACTOR_START_BACKOFF_MS_MIN), ACTOR_START_BACKOFF_MS_MAX
        )
        self.not_before = later(now, self.delay_ms)

    def on_running(self) -> None:
        """Note that the place is served."""
        self.delay_ms = 0


def decide_reconcile(
    *,
    wanted: Set[ActorKey],
    actual: Sequence[Incarnation],
    backoffs: Mapping[ActorKey, Backoff],
    now: Instant,
) -> list[Step]:
    """Return what to do now."""
    steps: list[Step] = []
    served: set[ActorKey] = set()
    # Of two at a place one that answers stays, then the one that owns its lanes, then the older.
    for actor in sorted(
        actual,
        key=lambda actor: (
            actor.strikes > 0 or not actor.is_running,
            -actor.lanes_count,
            actor.first_seen,
            actor.name,
        ),
    ):
        if actor.is_ending:
            # What it has begun is its own; who follows it need not wait.
            steps.append(End(actor.name, "it ends"))
        elif actor.failure:
            steps.append(Kill(actor.name, actor.failure))
        elif actor.strikes >= ACTOR_HEALTH_STRIKES_MAX:
            steps.append(Kill(actor.name, "it does not answer"))
        elif not actor.is_running and now > later(actor.first_seen, ACTOR_START_TIMEOUT_MS):
            steps.append(Kill(actor.name, "it did not start"))
        elif actor.key not in wanted:
            steps.append(End(actor.name, "its place is gone"))
        elif actor.key in served:
            steps.append(Kill(actor.name, "its place is served by another"))
        else:
            served.add(actor.key)
    for key in sorted(wanted - served, key=str):
        backoff = backoffs.get(key)
        if backoff is None or now >= backoff.not_before:
            steps.append(Create(key))
    return steps
