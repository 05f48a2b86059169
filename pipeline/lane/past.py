"""What lies behind a message that waits for another attempt, and how that is told and found again.

Which connectors certainly did not take it: one that refused for good, or could not take it at
several attempts, is not asked again; the message waits for a fallback (design 5.4).  And how many
of its attempts no connector saw, as its lane itself had put it off, by a command or by the hour:
they do not count against it.

Both are in every later line of the journal that names it, and can be told from its timeline: an
entry may retire while the message waits in the timers.  Were it lost, the message would be given to
who refused it already, or be given up sooner, and nothing worse.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from pipeline.later import TimelineEvent
from pipeline.lifecycle import EVENT_MASK, RESOLVED_FROM, Event, Step, attempt_of
from pipeline.limits import FALLBACK_ATTEMPTS
from pipeline.message import MessageId

Folds = Mapping[MessageId, Step]

_TOLD: Final = re.compile(r"refused by ([a-z][a-z0-9_]*): ")


class Past(NamedTuple):
    """What was before the attempt that a message waits for; of most messages there is none."""

    refused_by: tuple[str, ...] = ()  # in their order
    unseen: int = 0  # attempts that no connector saw

    def refused(self, connector: str) -> "Past":
        """Return it with one more that did not take it."""
        return self._replace(refused_by=(*self.refused_by, connector))


Pasts = Mapping[MessageId, Past]

_NONE: Final = Past()


def attempts_seen(step: Step, past: Past | None) -> int:
    """Return how many attempts, with that of this step, a connector saw."""
    return attempt_of(step) - (past.unseen if past is not None else 0)


def put_off(step: Step, past: Past | None, *, is_asked_again: bool) -> Past:
    """Return what is behind a message that its lane puts off with this step.

    `is_asked_again`: it had ended, and somebody wants it sent again; what was before counts no
    more.
    """
    if is_asked_again:
        return Past(unseen=attempt_of(step))
    past = past or _NONE
    return past._replace(unseen=past.unseen + 1)


def is_worn_out(seen: int, past: Past | None) -> bool:
    """Return whether a connector, after those that refused, had its share of the attempts."""
    return seen >= FALLBACK_ATTEMPTS * (len(past.refused_by) + 1 if past is not None else 1)


def told_refusal(connector: str, detail: str) -> str:
    """Return the detail of a deferral that leads to a fallback."""
    return f"refused by {connector}: {detail}"


def told_deferral(detail: str) -> str:
    """Return what a provider says of a pause; it does not pass for a refusal, whatever it says."""
    return f"deferred: {detail}" if _TOLD.match(detail) else detail


def past_of(events: Iterable[TimelineEvent]) -> Past | None:
    """Return what is behind a message, of its events by step.

    A deferral without a claim of the same attempt and try is the lane's own.  What came before an
    end counts no more: somebody asked for it to be sent again.
    """
    names: dict[str, None] = {}
    unseen = claimed = 0
    for event in events:
        number = event.step & EVENT_MASK
        tried = event.step - number
        if number == Event.CLAIM:
            claimed = tried
        elif number >= RESOLVED_FROM:
            names.clear()
            # The deferral that follows is one more.
            unseen = attempt_of(event.step) - 1
        elif number == Event.DEFER:
            if told := _TOLD.match(event.detail):
                names[told[1]] = None
            elif tried != claimed:
                unseen += 1
    return Past(tuple(names), unseen) if names or unseen else None
