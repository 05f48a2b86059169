"""What a connector says of a hand-over, and what its provider can do about repeats."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from pipeline.instant import DurationMs, Instant
from pipeline.lane_id import LaneId
from pipeline.lifecycle import Event
from pipeline.message import Body, MessageId


class ProviderClass(StrEnum):
    """What keeps a lost answer from becoming a second delivery (docs/protocol.md, 5.4)."""

    KEYED = "K"  # the provider deduplicates by our key
    QUERYABLE = "Q"  # it can be asked by our id
    CORRELATED = "C"  # it returns our id in receipts
    NONE = "0"  # nothing: only an explicit, audited act resends


class ReceiptsBy(StrEnum):
    """What a provider's receipts name a message by."""

    REFERENCE = "reference"  # its own name, which its answer to the hand-over told
    MESSAGE_ID = "message_id"  # our id


# What may follow a hand-over.  LOSE_ANSWER: the provider may have it.  NOT_SENT: nothing left this
# process.  DEFER: the provider refused for now, before it took anything.
OUTCOME_EVENTS = frozenset(
    {Event.NOT_SENT, Event.DEFER, Event.LOSE_ANSWER, Event.TAKE, Event.REFUSE}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class HandOver:
    """Claimed messages of one lane on their way to one connector; the columns have one length.

    A message's key at its provider is its id in hexadecimal: the same for every attempt.  Nothing
    may leave this process after `send_before`.
    """

    lane: LaneId
    message_ids: Sequence[MessageId]
    attempts: Sequence[int]
    bodies: Sequence[Body]
    send_before: Instant


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcomes:
    """One event for each message of a `HandOver`, or of a part of one, in its order.

    The mappings go by position among these events.  `details`: what a person may want to know, such
    as the reason of a refusal, at most a few hundred characters; `references`: the provider's own
    name for the message, by which its receipts come; `retry_after_ms`: how long the provider asks
    to be left alone, with DEFER.
    """

    events: bytes  # one Event number a message
    details: Mapping[int, str] = field(default_factory=dict)
    references: Mapping[int, str] = field(default_factory=dict)
    retry_after_ms: Mapping[int, DurationMs] = field(default_factory=dict)
    # Why the recipient is to get nothing more on this channel, as a list of suppressions has it.
    unwanted: Mapping[int, str] = field(default_factory=dict)

    def part(self, chosen: Sequence[int], events: bytes) -> "Outcomes":
        """Return the outcomes at these positions, with these events."""
        details, references, waits = self.details, self.references, self.retry_after_ms
        return Outcomes(
            events=events,
            details={m: details[n] for m, n in enumerate(chosen) if n in details},
            references={m: references[n] for m, n in enumerate(chosen) if n in references},
            retry_after_ms={m: waits[n] for m, n in enumerate(chosen) if n in waits},
        )

    @classmethod
    def all_alike(cls, event: Event, count: int, detail: str = "") -> "Outcomes":
        """Return the same event for `count` messages."""
        return cls(
            events=bytes([event]) * count,
            details=dict.fromkeys(range(count), detail) if detail else {},
        )


Report = Callable[[Sequence[int], Outcomes], None]
"""Takes the outcomes of a part of a hand-over: the positions in it, and an event for each."""
