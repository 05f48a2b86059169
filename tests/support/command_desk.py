"""Whoever asks something of messages in the seeded world, and what must come of it."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from pipeline.command import CommandBody, CommandKind, Verdict, decode_command, encode_command
from pipeline.instant import DurationMs, Instant, later
from pipeline.lane.entry import Entry
from pipeline.later import (
    ORDER_FAMILIES,
    CommandEntry,
    CommandPage,
    CommandRow,
    EditionKey,
    EditionRow,
    GroupOrder,
)
from pipeline.lifecycle import EVENT_MASK, Event
from pipeline.message import Body, MessageId, PartitionKey, tenant_of

ASKED_BY_PEOPLE = (
    CommandKind.CANCEL,
    CommandKind.EDIT,
    CommandKind.EXPEDITE,
    CommandKind.PAUSE,
    CommandKind.RESUME,
    CommandKind.RESOLVE,
    CommandKind.RESEND,
)


@dataclass
class CommandDesk:
    """Commands, orders and editions as a store has them; answers as the journal has them."""

    chance: random.Random
    near_horizon_ms: DurationMs
    body_of: Callable[[str, str], Body]  # of a content and a tenant
    rows: list[CommandRow] = field(default_factory=list)
    orders: dict[tuple[str, str], GroupOrder] = field(default_factory=dict)
    drafts: dict[tuple[MessageId, Instant], EditionRow] = field(default_factory=dict)
    editions: dict[MessageId, EditionRow] = field(default_factory=dict)  # that are confirmed
    answers: dict[bytes, str] = field(default_factory=dict)
    results: dict[bytes, str] = field(default_factory=dict)
    edited: dict[MessageId, Body] = field(default_factory=dict)
    # Somebody said what became of it, or took a second one upon themselves.
    overruled: set[MessageId] = field(default_factory=set)
    stopped: set[str] = field(default_factory=set)
    cancelled: set[str] = field(default_factory=set)  # for ever
    fate_share: float = 0.0  # of commands to a group
    fate_chance: random.Random = field(default_factory=random.Random)

    def ask(
        self,
        id_: MessageId,
        *,
        pk: PartitionKey,
        born: Instant,
        group: str,
        at: Instant,
        taken: bool,
    ) -> None:
        """Write a command to one message."""
        kind = self.chance.choice(ASKED_BY_PEOPLE)
        due_at, body, event = None, b"", 0
        if kind is CommandKind.EDIT:
            body = self.body_of(f"edited {len(self.rows)}", tenant_of(group))
        if kind in (CommandKind.EDIT, CommandKind.PAUSE):
            due_at = later(at, self.chance.randrange(3 * self.near_horizon_ms))
        if kind is CommandKind.RESOLVE:
            # Whoever resolves has asked the provider.
            event = Event.TAKE if taken else Event.REFUSE
        payload = encode_command(
            CommandBody(born=born, group=group, body=body, due_at=due_at, event=event)
        )
        self._write(CommandEntry(self._id(), kind, id_, pk, "", "ada", payload), at)

    def ask_of_group(self, group: str, *, at: Instant, kind: CommandKind | None = None) -> None:
        """Write an order, and a command to the lane."""
        if kind is None:
            kinds = (CommandKind.PAUSE, CommandKind.RESUME, CommandKind.EXPEDITE)
            kind = self.chance.choice(kinds)
            if self.fate_chance.random() < self.fate_share:
                kind = CommandKind.CANCEL
        entry = CommandEntry(self._id(), kind, b"", b"", group, "ada", b"")
        if kind is not CommandKind.EXPEDITE:
            family = ORDER_FAMILIES[kind]
            self.orders[group, family] = GroupOrder(group, kind, at, entry.id, "ada")
        if kind is CommandKind.RESUME:
            self.stopped.discard(group)
        self._write(entry, at)

    def resume_all(self, groups: Sequence[str], *, at: Callable[[], Instant]) -> None:
        """Nothing stays paused for ever."""
        for group in groups:
            self.ask_of_group(group, at=at(), kind=CommandKind.RESUME)

    def _id(self) -> bytes:
        return self.chance.randbytes(16)

    def _write(self, entry: CommandEntry, at: Instant) -> None:
        self.rows.append((at, entry))

    def read(self, *, from_at: Instant, through: Instant, resume: bytes | None) -> CommandPage:
        """Return a page, mostly a short one."""
        start = from_at if resume is None else Instant(int(resume))
        found = [row for row in self.rows if start <= row[0] <= through]
        page = found[: self.chance.randrange(1, 4)]
        more = str(page[-1][0] + 1).encode() if len(found) > len(page) else None
        return CommandPage(page, more)

    def write_editions(self, rows: Sequence[EditionRow]) -> None:
        for row in rows:
            assert self.drafts.setdefault((row.id, row.at), row) == row, "another edition"

    def confirm_editions(self, keys: Sequence[EditionKey]) -> None:
        for id_, _, at in keys:
            row = self.drafts[id_, at]
            if id_ not in self.editions or at > self.editions[id_].at:
                self.editions[id_] = row

    def bodies(self, bodies: Mapping[MessageId, Body]) -> dict[MessageId, Body]:
        """Return what a read of bodies gives."""
        return {
            id_: self.editions[id_].body if id_ in self.editions else body
            for id_, body in bodies.items()
        }

    def on_journaled(self, entry: Entry, dues: dict[MessageId, Instant]) -> None:
        """Note what an entry answers, and what that means for the world."""
        for id_, step in zip(entry.message_ids, entry.steps, strict=True):
            if not entry.connector and step & EVENT_MASK == Event.DEFER:
                dues.pop(id_, None)
        entry_of = {row.id: row for _, row in self.rows}
        at_of = {row.id: at for at, row in self.rows}
        for answer in entry.answers:
            assert answer.command_id not in self.answers, "answered twice"
            self.answers[answer.command_id] = answer.verdict
            asked = entry_of[answer.command_id]
            if asked.group:
                if asked.kind == CommandKind.CANCEL:
                    self.cancelled.add(asked.group)
                if asked.kind == CommandKind.PAUSE:
                    order = self.orders[asked.group, "flow"]
                    if order.command_id == asked.id:
                        self.stopped.add(asked.group)
                continue
            id_ = MessageId(asked.message_id)
            if answer.verdict != Verdict.DONE:
                continue
            if asked.kind == CommandKind.EDIT:
                self.edited[id_] = self.drafts[id_, at_of[asked.id]].body
            if asked.kind in (CommandKind.RESEND, CommandKind.RESOLVE):
                self.overruled.add(id_)
            due_at = decode_command(asked.payload).due_at
            if due_at is not None:
                dues[id_] = Instant(due_at)

    def check_claim(self, group: str) -> None:
        assert group not in self.stopped, "claimed, though its group is paused"
        assert group not in self.cancelled, "claimed, though its group is cancelled"

    @property
    def is_answered(self) -> bool:
        return len(self.results) == len(self.rows)

    def check_end(self) -> None:
        assert set(self.answers) == {row.id for _, row in self.rows}, "a command without an answer"
        assert self.results == self.answers
