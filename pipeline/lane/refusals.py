"""Which connectors certainly did not take a message, and how that is told and found again.

A message that a connector refused for good, or could not take at several attempts, waits for its
next attempt, at a fallback (design 5.4).
Who refused it so far is in every later line of the journal that names it, and one by one in the
details of its timeline: an entry may retire while the message waits in the timers.  Were it lost,
the message would be given to who refused it already, and nothing worse.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from pipeline.later import TimelineEvent
from pipeline.lifecycle import EVENT_MASK, RESOLVED_FROM, Event, Step
from pipeline.limits import FALLBACK_ATTEMPTS
from pipeline.message import MessageId

Folds = Mapping[MessageId, Step]
Refusals = Mapping[MessageId, tuple[str, ...]]

_TOLD: Final = re.compile(r"refused by ([a-z][a-z0-9_]*): ")


def is_worn_out(attempt: int, *, refused_by: Sequence[str]) -> bool:
    """Return whether a connector, after those that refused, had its share of the attempts."""
    return attempt >= FALLBACK_ATTEMPTS * (len(refused_by) + 1)


def told_refusal(connector: str, detail: str) -> str:
    """Return the detail of a deferral that leads to a fallback."""
    return f"refused by {connector}: {detail}"


def told_deferral(detail: str) -> str:
    """Return what a provider says of a pause; it does not pass for a refusal, whatever it says."""
    return f"deferred: {detail}" if _TOLD.match(detail) else detail


def refused_by(events: Iterable[TimelineEvent]) -> tuple[str, ...]:
    """Return who refused a message, first one first, of its events by step.

    What came before an end counts no more: somebody asked for it to be sent again.
    """
    names: dict[str, None] = {}
    for event in events:
        number = event.step & EVENT_MASK
        if number >= RESOLVED_FROM:
            names.clear()
        elif number == Event.DEFER and (told := _TOLD.match(event.detail)):
            names[told[1]] = None
    return tuple(names)
