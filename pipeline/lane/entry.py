"""One append to a lane's journal, and its bytes.

An entry names messages: for each the step that it now has, the event that it had before (so that
the books can be counted from entries alone), its born (for promptness and retirement) and its
group.  Claims, outcomes and decisions are the same kind of line.  The columns are packed, not
the lines: 512 claims take 15 KB and a few microseconds to pack.  Numbers are little-endian.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, repeat
from operator import ne
from types import MappingProxyType
from typing import Final, NamedTuple, cast

import msgspec
import numpy as np

from pipeline.errors import ShardpostError
from pipeline.instant import Instant
from pipeline.lane.past import Past, told_refusal
from pipeline.later import EditionKey
from pipeline.lifecycle import EVENT_MASK, Event
from pipeline.message import MessageId, PartitionKey, TimelineRow

FORMAT_VERSION: Final = 1
NOT_NAMED: Final = 0  # the event before the first: the message enters the books with this entry
NO_TIMERS: Final = Instant(0)  # the cursor of a lane that never had one
NO_COMMANDS: Final = Instant(0)
AS_THE_OFFSET: Final = Instant(0)
_ID_BYTES: Final = 16
_CHECKPOINT_NUMBERS_MIN: Final = 2
_NONE: Final[Mapping[int, str]] = MappingProxyType({})
_NO_PASTS: Final[Mapping[int, Past]] = MappingProxyType({})
_NOTHING: Final[Mapping[int, Instant]] = MappingProxyType({})


class EntryUnreadable(ShardpostError):
    """The operator must run the release that wrote the journal, or a newer one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """How far the owner came, as of the entry that carries it.

    `offset`: every row with at < offset is resolved.  `retired_through`: no entry with a seq up to
    this one is needed any more.  `timer_cursor`: every timer due before it is resolved.
    `command_cursor`: every command with at <= command_cursor is carried out.  `starts`: at how
    many ends of owners in a row the entry's `trial` was being touched.  `ordered_offset`: every row
    of an ordered message with at < ordered_offset is that of a final one; where it is not said, the
    offset.  `missed`: how many rows were found below it that nobody answered for.
    """

    offset: Instant
    retired_through: int
    timer_cursor: Instant = NO_TIMERS
    command_cursor: Instant = NO_COMMANDS
    starts: int = 0
    ordered_offset: Instant = AS_THE_OFFSET
    missed: int = 0

    @property
    def read_from(self) -> Instant:
        """The `at` of the first row that may not be resolved, of whatever kind."""
        return min(self.offset, self.ordered_offset or self.offset)


class CommandAnswer(NamedTuple):
    """What the lane says of a command, in the entry that carries it out."""

    command_id: bytes
    verdict: str
    detail: str
    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What one append says; the columns have one length.  Its seq is the journal's to tell."""

    at: Instant
    connector: str
    message_ids: Sequence[MessageId]
    steps: Sequence[int]
    events_before: Sequence[int]
    borns: Sequence[Instant]
    groups: Sequence[str]
    partition_keys: Mapping[int, PartitionKey]  # by position, where it is not the id
    details: Mapping[int, str]  # by position
    checkpoint: Checkpoint | None
    # By position: the provider's own names of messages, where its receipts come by them.
    references: Mapping[int, str] = field(default_factory=dict)
    answers: Sequence[CommandAnswer] = ()
    reason: str = ""  # of the lines that have no details; where it is said there is no connector
    # What the owner is about to touch, after a crash; it counts as long as no entry follows.
    trial: Sequence[MessageId] = ()
    # By position, of messages that wait or were claimed again.
    pasts: Mapping[int, Past] = field(default_factory=dict)
    # By position: the edition that the message holds from here on.
    editions: Mapping[int, Instant] = field(default_factory=dict)

    def edition_keys(self) -> list[EditionKey]:
        """Return what is to be confirmed when this entry is projected."""
        return [
            EditionKey(self.message_ids[n], self.key_at(n), at) for n, at in self.editions.items()
        ]

    def key_at(self, position: int) -> PartitionKey:
        """Return the partition key of the message at a position."""
        return self.partition_keys.get(position) or PartitionKey(self.message_ids[position])

    def timeline_rows(self) -> list[TimelineRow]:
        """Return the rows that project this entry."""
        usual = self.reason or self.connector
        details: Sequence[str] = (
            [self.details.get(position, usual) for position in range(len(self.steps))]
            if self.details
            else [usual] * len(self.steps)
        )
        if self.pasts:
            details = list(details)
            for position, (names, _) in self.pasts.items():
                is_own = names[-1:] == (self.connector,) and not self.reason
                if is_own and self.steps[position] & EVENT_MASK == Event.DEFER:
                    # Who refused it must be found when this entry has retired, told in full or not.
                    details[position] = self.details.get(position) or told_refusal(names[-1], "")
        # A message's partition key is its id, but for messages that share an ordering key.
        keys = cast(Sequence[PartitionKey], self.message_ids)
        if self.partition_keys:
            keys = [self.partition_keys.get(n, key) for n, key in enumerate(keys)]
        return list(zip(self.message_ids, keys, self.steps, repeat(self.at), details, strict=False))


class _Body(msgspec.Struct, array_like=True, frozen=True):
    """The stored form.  New fields are added at the end, with a default."""

    version: int
    at: int
    connector: str
    message_ids: bytes
    steps: bytes  # uint32
    events_before: bytes  # uint8
    borns: bytes  # int64
    groups: list[str]
    group_numbers: bytes  # uint16, index into groups; empty: all 0
    partition_keys: dict[int, bytes]
    details: dict[int, str]
    checkpoint: tuple[int, ...] | None  # the fields in their order; without zeros at the end
    references: dict[int, str] = {}
    answers: list[CommandAnswer] = []
    reason: str = ""
    trial: bytes = b""
    # Attempts unseen and names, with a space between; uint16, positions.
    pasts: dict[str, bytes] = {}
    editions: dict[int, int] = {}


# What came later is there only if it says something.
_FIELDS_MIN: Final = 12
_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(_Body)


def encode_entry(entry: Entry) -> bytes:
    """Return the body of an append."""
    groups = list(dict.fromkeys(entry.groups))
    numbers = b""
    if len(groups) > 1:
        number_of = {group: number for number, group in enumerate(groups)}
        numbers = np.array([number_of[group] for group in entry.groups], "<u2").tobytes()
    checkpoint = entry.checkpoint
    fields = msgspec.structs.astuple(
        _Body(
            version=FORMAT_VERSION,
            at=entry.at,
            connector=entry.connector,
            message_ids=b"".join(entry.message_ids),
            steps=np.array(entry.steps, "<u4").tobytes(),
            events_before=bytes(entry.events_before),
            borns=np.array(entry.borns, "<i8").tobytes(),
            groups=groups,
            group_numbers=numbers,
            partition_keys=dict(entry.partition_keys),
            details=dict(entry.details),
            checkpoint=None if checkpoint is None else _numbers(checkpoint),
            references=dict(entry.references),
            answers=list(entry.answers),
            reason=entry.reason,
            trial=b"".join(entry.trial),
            pasts=_packed_pasts(entry.pasts),
            editions=dict(entry.editions),
        )
    )
    count = len(fields)
    while count > _FIELDS_MIN and not fields[count - 1]:
        count -= 1
    return _encoder.encode(fields[:count])


def _packed_pasts(pasts: Mapping[int, Past]) -> dict[str, bytes]:
    positions: dict[Past, list[int]] = {}
    for position, past in pasts.items():
        positions.setdefault(past, []).append(position)
    return {
        " ".join((str(past.unseen), *past.refused_by)): np.array(at, "<u2").tobytes()
        for past, at in positions.items()
    }


def _pasts(packed: Mapping[str, bytes]) -> dict[int, Past]:
    pasts: dict[int, Past] = {}
    for text, at in packed.items():
        words = text.split()
        # No name begins with a digit; it was not counted always.
        unseen = int(words.pop(0)) if words and words[0].isdecimal() else 0
        past = Past(tuple(words), unseen)
        pasts.update(dict.fromkeys(np.frombuffer(at, "<u2").tolist(), past))
    return pasts


def _numbers(checkpoint: Checkpoint) -> tuple[int, ...]:
    numbers = [
        checkpoint.offset,
        checkpoint.retired_through,
        checkpoint.timer_cursor,
        checkpoint.command_cursor,
        checkpoint.starts,
        checkpoint.ordered_offset,
        checkpoint.missed,
    ]
    while len(numbers) > _CHECKPOINT_NUMBERS_MIN and not numbers[-1]:
        numbers.pop()
    return tuple(numbers)


def _checkpoint(numbers: tuple[int, ...]) -> Checkpoint:
    later = chain(numbers[_CHECKPOINT_NUMBERS_MIN:], repeat(0))
    return Checkpoint(
        offset=Instant(numbers[0]),
        retired_through=numbers[1],
        timer_cursor=Instant(next(later)),
        command_cursor=Instant(next(later)),
        starts=next(later),
        ordered_offset=Instant(next(later)),
        missed=next(later),
    )


def decode_entry(body: bytes) -> Entry:
    """Return the entry of a body.  Raises `EntryUnreadable` if it is damaged or newer than this."""
    try:
        version = msgspec.msgpack.decode(body)[0]
        if version != FORMAT_VERSION:
            raise EntryUnreadable(
                f"the journal holds an entry of format {version}, this release reads"
                f" {FORMAT_VERSION}: run the release that wrote it, or a newer one"
            )
        raw = _decoder.decode(body)
    except (msgspec.DecodeError, IndexError, TypeError, KeyError) as error:
        raise EntryUnreadable(f"the journal holds an entry that cannot be read: {error}") from error
    ids = raw.message_ids
    count = len(ids) // _ID_BYTES
    numbers = raw.group_numbers
    if (
        not len(ids) == 4 * len(raw.steps) == 16 * len(raw.events_before) == 2 * len(raw.borns)
        or (len(numbers) != 2 * count if numbers else count and len(raw.groups) != 1)
        or max(np.frombuffer(numbers, "<u2"), default=-1) >= len(raw.groups)
        or len(raw.trial) % _ID_BYTES
        or any(len(at) % 2 for at in raw.pasts.values())
        or max(pasts := _pasts(raw.pasts), default=-1) >= count
        or any(not 0 <= position < count for position in raw.editions)
    ):
        raise EntryUnreadable("the journal holds an entry whose columns do not fit together")
    return Entry(
        at=Instant(raw.at),
        connector=raw.connector,
        message_ids=_ids(ids),
        steps=np.frombuffer(raw.steps, "<u4").tolist(),
        events_before=list(raw.events_before),
        borns=np.frombuffer(raw.borns, "<i8").tolist(),
        groups=(
            [raw.groups[number] for number in np.frombuffer(raw.group_numbers, "<u2").tolist()]
            if raw.group_numbers
            else raw.groups * count
        ),
        partition_keys={n: PartitionKey(key) for n, key in raw.partition_keys.items()},
        details=raw.details,
        checkpoint=None if raw.checkpoint is None else _checkpoint(raw.checkpoint),
        references=raw.references,
        answers=tuple(raw.answers),
        reason=raw.reason,
        trial=tuple(_ids(raw.trial)),
        pasts=pasts,
        editions={n: Instant(at) for n, at in raw.editions.items()},
    )


def _ids(joined: bytes) -> list[MessageId]:
    return [
        MessageId(joined[start : start + _ID_BYTES]) for start in range(0, len(joined), _ID_BYTES)
    ]


class EntryBuilder:
    """Collects the lines of the next append."""

    def __init__(self) -> None:
        self.message_ids: list[MessageId] = []
        self.steps: list[int] = []
        self.events_before: list[int] = []
        self.borns: list[Instant] = []
        self.groups: list[str] = []
        self.partition_keys: dict[int, PartitionKey] = {}
        self.details: dict[int, str] = {}
        self.references: dict[int, str] = {}
        self.pasts: dict[int, Past] = {}
        self.editions: dict[int, Instant] = {}

    def __len__(self) -> int:
        return len(self.steps)

    def add_lines(
        self,
        *,
        message_ids: Sequence[MessageId],
        partition_keys: Sequence[PartitionKey],
        steps: Sequence[int],
        events_before: Sequence[int],
        borns: Sequence[Instant],
        groups: Sequence[str],
        details: Mapping[int, str],
        references: Mapping[int, str] = _NONE,
        pasts: Mapping[int, Past] = _NO_PASTS,
        editions: Mapping[int, Instant] = _NOTHING,
    ) -> None:
        """Add lines; the mappings are by position in the columns given here."""
        start = len(self.steps)
        own: Sequence[bytes] = message_ids
        keys: Sequence[bytes] = partition_keys
        if any(map(ne, keys, own)):
            for position, key in enumerate(partition_keys):
                if key != own[position]:
                    self.partition_keys[start + position] = key
        self.message_ids.extend(message_ids)
        self.steps.extend(steps)
        self.events_before.extend(events_before)
        self.borns.extend(borns)
        self.groups.extend(groups)
        for position, detail in details.items():
            self.details[start + position] = detail
        for position, reference in references.items():
            self.references[start + position] = reference
        for position, past in pasts.items():
            self.pasts[start + position] = past
        for position, at in editions.items():
            self.editions[start + position] = at

    def build(
        self,
        *,
        at: Instant,
        connector: str,
        checkpoint: Checkpoint | None,
        answers: Sequence[CommandAnswer] = (),
        reason: str = "",
        trial: Sequence[MessageId] = (),
    ) -> Entry:
        """Return the entry; the builder must not be used again."""
        return Entry(
            at=at,
            connector=connector,
            message_ids=self.message_ids,
            steps=self.steps,
            events_before=self.events_before,
            borns=self.borns,
            groups=self.groups,
            partition_keys=self.partition_keys,
            details=self.details,
            checkpoint=checkpoint,
            references=self.references,
            answers=answers,
            reason=reason,
            trial=trial,
            pasts=self.pasts,
            editions=self.editions,
        )
