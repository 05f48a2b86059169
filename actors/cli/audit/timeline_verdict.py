"""What the steps of one message say, judged by the lifecycle table.

Of millions of messages most have the same few steps, so a verdict is found by their text and
remembered; a message costs a look into a table.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from pipeline.lifecycle import (
    EVENT_MASK,
    ONLY_WHEN_ASKED,
    Event,
    IllegalTransition,
    Step,
    event_of,
    state_of,
    step_after,
)

_VERDICTS_KEPT_MAX: Final = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineVerdict:
    """What became of a message by its steps."""

    fold: Step
    event: Event | None  # of the fold; None: no release knows it
    takes_count: int  # the most that no resend lies between
    resends_count: int  # how often somebody asked for another one
    answered_at: Step | None  # the last claim that its provider answered by taking it
    may_be_handed_over: bool  # a provider has it, or may have it
    fault: str | None  # how the steps break the table, None: they do not

    @property
    def state(self) -> str:
        """The name of the state."""
        return "unreadable" if self.event is None else state_of(self.fold).value


@lru_cache(maxsize=_VERDICTS_KEPT_MAX)
def judge(steps: str) -> TimelineVerdict:
    """Return the verdict on steps: numbers joined by commas, in any order, repeats allowed."""
    ordered = sorted({Step(int(step)) for step in steps.split(",")})
    takes, resends, answered_at = _takes(ordered)
    fold = ordered[-1]
    numbers = [step & EVENT_MASK for step in ordered]
    known = fold & EVENT_MASK in Event._value2member_map_
    return TimelineVerdict(
        fold=fold,
        event=event_of(fold) if known else None,
        takes_count=takes,
        resends_count=resends,
        answered_at=answered_at,
        may_be_handed_over=(
            Event.TAKE in numbers or Event.LOSE_ANSWER in numbers or numbers[-1] == Event.CLAIM
        ),
        fault=_fault(ordered),
    )


def _takes(ordered: list[Step]) -> tuple[int, int, Step | None]:
    """Return how often it was taken without being asked for again, resends, and the claim."""
    takes = most = resends = 0
    answered_at: Step | None = None
    before: Step | None = None
    for step in ordered:
        try:
            event, state = event_of(step), state_of(before)
        except ValueError:
            break
        if (state, event) in ONLY_WHEN_ASKED:
            takes, resends = 0, resends + 1
        elif event is Event.TAKE:
            takes += 1
            most = max(most, takes)
            if before is not None and event_of(before) is Event.CLAIM:
                answered_at = before
        before = step
    return most, resends, answered_at


def _fault(ordered: list[Step]) -> str | None:
    before: Step | None = None
    for step in ordered:
        try:
            event = event_of(step)
        except ValueError:
            return f"step {step} has an event that no release knows"
        try:
            lawful = step_after(before, event)
        except IllegalTransition as error:
            return str(error)
        if step != lawful:
            return f"step {step}: {event.name} of another attempt or try than follows"
        before = step
    return None
