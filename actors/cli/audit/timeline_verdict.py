"""What the steps of one message say, judged by the lifecycle table.

Of millions of messages most have the same few steps, so a verdict is found by their text and
remembered; a message costs a look into a table.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from pipeline.lifecycle import (
    EVENT_MASK,
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
    takes_count: int
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
    fold = ordered[-1]
    numbers = [step & EVENT_MASK for step in ordered]
    known = fold & EVENT_MASK in Event._value2member_map_
    return TimelineVerdict(
        fold=fold,
        event=event_of(fold) if known else None,
        takes_count=numbers.count(Event.TAKE),
        may_be_handed_over=(
            Event.TAKE in numbers or Event.LOSE_ANSWER in numbers or numbers[-1] == Event.CLAIM
        ),
        fault=_fault(ordered),
    )


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
