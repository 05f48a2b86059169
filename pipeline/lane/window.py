"""Messages that one append claims together, in columns."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final, NamedTuple

from msgspec import Struct
from msgspec.structs import replace as changed

from pipeline.instant import DurationMs, Instant, earlier
from pipeline.lane.actions import HandOverWindow
from pipeline.lane.entry import EntryBuilder
from pipeline.lane.past import Past
from pipeline.lifecycle import EVENT_MASK, Event, Step, attempt_of, next_claim
from pipeline.limits import (
    JOURNAL_LINES_BYTES_MAX,
    OUTCOME_DETAIL_CHARS_MAX,
    OUTCOME_DETAILS_BYTES_MAX,
)
from pipeline.message import Body, MessageId, PartitionKey, expiry_of, is_scheduled
from pipeline.outcome import Outcomes
from pipeline.route.permits import LimitKey

_LINE_BYTES: Final = 31  # id, step, event before, born, number of the group
_REFERENCE_FRAME_BYTES: Final = 6
_NONE: Final[Mapping[int, str]] = MappingProxyType({})
_PAST_BYTES: Final = 2  # the position; the past is there once for all that share it
_UNSEEN_BYTES: Final = 4


class Candidate(Struct, frozen=True, gc=False):
    """A message that may be claimed.  `fold` is its largest step, None: none; a body may lack.

    A struct that the garbage collector need not look at: a lane holds many thousands of them.
    """

    pk: PartitionKey
    born: Instant
    group: str
    fold: Step | None
    body: Body | None
    due_at: Instant = Instant(0)  # not before; 0: at once
    past: Past | None = None

    def at(self, fold: Step | None, past: Past | None) -> "Candidate":
        """Return it as it stands with this fold."""
        return changed(self, fold=fold, past=past)

    def with_body(self, body: Body) -> "Candidate":
        """Return it with its body.  Spelled out: every message that waited for one comes by."""
        return Candidate(self.pk, self.born, self.group, self.fold, body, self.due_at, self.past)


@dataclass(slots=True, kw_only=True)
class Window:
    """The claims of one append; the columns have one length."""

    connector: str
    message_ids: Sequence[MessageId]
    partition_keys: Sequence[PartitionKey]
    borns: Sequence[Instant]
    groups: Sequence[str]
    steps: Sequence[int]  # of the claims
    bodies: Sequence[Body | None]  # None: claimed by a predecessor
    claimed_at: Instant
    named_at: Instant  # when an entry last named the claims
    send_before: Instant
    seq: int = -1  # of the entry that claimed them
    carried_seq: int = -1  # of the entry that named them again, if one did
    is_carried_in_next: bool = False
    # Positions that have no journaled outcome; None: all of them, as most windows end whole.
    open_positions: set[int] | None = None
    is_recovered: bool = False  # claimed by a predecessor, which may hand it over at any time
    # Of those recovered: positions whose first claim is older than what was read back.
    claimed_before: frozenset[int] = frozenset()
    permits: Sequence[tuple[LimitKey, ...]] = ()  # of each message, if its connector has limits
    unjournaled_parts: int = 0  # outcomes that came and are in no entry yet
    # By position; a connector that did not take the message is in it from then on.
    pasts: dict[int, Past] = field(default_factory=dict)

    @property
    def named_seq(self) -> int:
        """The seq of the newest entry that names the claims."""
        return max(self.seq, self.carried_seq)

    @named_seq.setter
    def named_seq(self, seq: int) -> None:
        self.carried_seq = seq

    @property
    def open_count(self) -> int:
        """How many of the claims have no journaled outcome."""
        return len(self.message_ids if self.open_positions is None else self.open_positions)

    def first_claimed_at(self, position: int) -> Instant:
        """Return when the message was claimed, or earlier: a key's life is counted from here."""
        return self.borns[position] if position in self.claimed_before else self.claimed_at

    def end(self, positions: Sequence[int]) -> None:
        """Note that the outcomes at these positions are being journaled."""
        if self.open_positions is None:
            self.open_positions = set(range(len(self.message_ids)))
        assert self.open_positions.issuperset(positions), "an outcome twice"
        self.open_positions.difference_update(positions)

    def hand_over(self) -> HandOverWindow:
        """Return what goes to the connector."""
        bodies = [body for body in self.bodies if body is not None]
        assert len(bodies) == len(self.message_ids), "only an owner's own claims are handed over"
        first = self.steps[0]
        attempts = (
            [attempt_of(Step(first))] * len(bodies)
            if self.steps.count(first) == len(bodies)
            else [attempt_of(Step(step)) for step in self.steps]
        )
        return HandOverWindow(
            seq=self.seq,
            connector=self.connector,
            message_ids=self.message_ids,
            attempts=attempts,
            bodies=bodies,
            send_before=self.send_before,
        )

    def hand_over_again(self, positions: Sequence[int], *, send_before: Instant) -> HandOverWindow:
        """Return what goes to the connector with the same keys once more."""
        bodies = [self.bodies[n] for n in positions]
        return HandOverWindow(
            seq=self.seq,
            connector=self.connector,
            positions=positions,
            message_ids=[self.message_ids[n] for n in positions],
            attempts=[attempt_of(Step(self.steps[n])) for n in positions],
            bodies=[body for body in bodies if body is not None],
            send_before=send_before,
        )

    def candidate(
        self,
        position: int,
        *,
        event: Event,
        due_at: Instant = Instant(0),  # noqa: B008
    ) -> Candidate:
        """Return the message at a position as it stands after the claim ended with `event`."""
        return Candidate(
            self.partition_keys[position],
            self.borns[position],
            self.groups[position],
            Step(self.steps[position] - Event.CLAIM + event),
            self.bodies[position],
            due_at,
            self.pasts.get(position),
        )

    def add_claim_lines(self, builder: EntryBuilder, events_before: Sequence[int]) -> None:
        """Add the lines that claim the messages."""
        builder.add_lines(
            message_ids=self.message_ids,
            partition_keys=self.partition_keys,
            steps=self.steps,
            events_before=events_before,
            borns=self.borns,
            groups=self.groups,
            details={},
            pasts=self.pasts,
        )

    def add_carry_lines(self, builder: EntryBuilder) -> None:
        """Add the lines that name the claims without outcome again."""
        part = self._part(sorted(self.open_positions or ()) if self.open_positions else None)
        builder.add_lines(
            message_ids=part.message_ids,
            partition_keys=part.partition_keys,
            steps=part.steps,
            events_before=[Event.CLAIM] * len(part.steps),
            borns=part.borns,
            groups=part.groups,
            details={},
            pasts=part.pasts,
        )

    def add_outcome_lines(
        self, builder: EntryBuilder, outcomes: Outcomes, positions: Sequence[int] | None = None
    ) -> None:
        """Add the lines that end the claims at these positions (None: all)."""
        part = self._part(positions)
        builder.add_lines(
            message_ids=part.message_ids,
            partition_keys=part.partition_keys,
            steps=[
                step - Event.CLAIM + event
                for step, event in zip(part.steps, outcomes.events, strict=True)
            ],
            events_before=[Event.CLAIM] * len(part.steps),
            borns=part.borns,
            groups=part.groups,
            details=bounded_details(outcomes.details),
            references=outcomes.references,
            pasts=part.pasts,
        )

    def _part(self, positions: Sequence[int] | None) -> "Window":
        if positions is None:
            return self
        return replace(
            self,
            message_ids=[self.message_ids[n] for n in positions],
            partition_keys=[self.partition_keys[n] for n in positions],
            borns=[self.borns[n] for n in positions],
            groups=[self.groups[n] for n in positions],
            steps=[self.steps[n] for n in positions],
            pasts={m: self.pasts[n] for m, n in enumerate(positions) if n in self.pasts}
            if self.pasts
            else {},
        )


class Answer(NamedTuple):
    """What became of a window's messages, or of those at some positions of it."""

    window: Window
    outcomes: Outcomes
    positions: Sequence[int] | None  # None: all of them
    expired: Sequence[int] = ()  # of those deferred, by place in `outcomes`: too late for another

    @property
    def messages_count(self) -> int:
        """Of how many messages it tells."""
        return len(self.outcomes.events)

    def in_parts(self) -> "Iterator[Answer]":
        """Yield it, or as many parts of it as bodies are needed: references may be long."""
        window, outcomes, positions, expired = self
        if not outcomes.references:
            yield self
            return
        at = range(len(window.groups)) if positions is None else positions
        size = lines_bytes([window.groups[n] for n in at], outcomes.details, outcomes.references)
        if size <= JOURNAL_LINES_BYTES_MAX or len(at) == 1:
            yield self
            return
        half = len(at) // 2
        for begin, end in ((0, half), (half, len(at))):
            part = outcomes.part(range(begin, end), outcomes.events[begin:end])
            too_late = [n - begin for n in expired if begin <= n < end]
            yield from Answer(window, part, list(at[begin:end]), too_late).in_parts()


def bounded_details(details: Mapping[int, str]) -> dict[int, str]:
    """Return the details, each cut to its longest, as many as a window may carry."""
    bounded: dict[int, str] = {}
    left = OUTCOME_DETAILS_BYTES_MAX
    for position, detail in details.items():
        cut = detail[:OUTCOME_DETAIL_CHARS_MAX]
        left -= 4 * len(cut) + 8
        if left < 0:
            break
        bounded[position] = cut
    return bounded


def lines_bytes(
    groups: Sequence[str],
    details: Mapping[int, str],
    references: Mapping[int, str] = _NONE,
    *,
    pasts: Collection[Past] = (),
) -> int:
    """Return how many bytes of a journal body the lines of a window take at most."""
    return (
        _LINE_BYTES * len(groups)
        + sum(4 * len(group) + 8 for group in set(groups))
        + (OUTCOME_DETAILS_BYTES_MAX if details else 0)
        + sum(
            _REFERENCE_FRAME_BYTES + len(text) * (1 if text.isascii() else 4)
            for text in references.values()
        )
        + _PAST_BYTES * len(pasts)
        + sum(_UNSEEN_BYTES + sum(len(name) + 8 for name in past.refused_by) for past in set(pasts))
    )


def expired_positions(
    candidates: Sequence[Candidate], *, now: Instant, validity_ms_max: DurationMs
) -> set[int]:
    """Return the positions of the candidates that must not be handed over any more.

    A message that is scheduled says itself until when, as it may be born long before it is due.
    """
    oldest_born = earlier(now, validity_ms_max)
    expired = set()
    for n, candidate in enumerate(candidates):
        body = candidate.body
        expires_at = None if body is None else expiry_of(body)
        if (expires_at is not None and expires_at <= now) or (
            candidate.born <= oldest_born
            # Only of one that is old the whole body is looked at.
            and (body is None or expires_at is None or not is_scheduled(body))
        ):
            expired.add(n)
    return expired


def add_expiry_line(builder: EntryBuilder, id_: MessageId, candidate: Candidate) -> None:
    """Add the line that ends a message which is not worth sending any more."""
    builder.add_lines(
        message_ids=[id_],
        partition_keys=[candidate.pk],
        steps=[next_claim(candidate.fold) - Event.CLAIM + Event.EXPIRE],
        events_before=[(candidate.fold or 0) & EVENT_MASK],
        borns=[candidate.born],
        groups=[candidate.group],
        details={},
    )
