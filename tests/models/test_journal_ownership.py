"""Who owns a lane, and what its journal says, while owners take over, are slow and segments roll.

A lane is one fenced log.  Owner A holds it under epoch 1; B and C take over at any time, and A may
give it to B.  Every conditional write is answered, or applied with its answer lost, or applied at
any later moment (a ghost).  A crash is an owner that is slow for ever; only C must finish.  A body
claims up to F messages and holds all outcomes that are known; the same bytes are repeated until the
answer is definite, and a seq that is written never takes other bytes.

S1 nothing of class 0 is handed over twice.  S2 nothing is handed over without a claim in the
journal.  S3 at the end of C everything has an outcome, `taken` only if it was handed over, and C
can always come to its end.  S4 nothing has two outcomes.  S5 after n changes of owner at most n F
messages are uncertain.  S6 no two owners both believe in a segment that says their epoch.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import pytest

from tests.models.search import assert_fails, assert_holds, put

NAMES = "ABC"
# What an owner knows of a message: nothing, claimed and not handed over, handed over, claimed by
# somebody before it, ended.
NEW, CLAIMED, SENT, FOUND, ENDED = ".csod"

Mutant = Literal[
    "",
    "no fence",
    "a take-over is unfenced",
    "opening is unfenced",
    "a roll does not close",
    "a roll ignores that closing was refused",
    "whoever looks starts at the hint",
    "seq starts again, over what is there",
    "other bytes after no answer, over what is there",
    "hands over before the answer",
]


class Body(NamedTuple):
    claims: tuple[int, ...] = ()
    outcomes: tuple[tuple[int, str], ...] = ()


class Entry(NamedTuple):
    seq: int
    body: Body


class Segment(NamedTuple):
    epoch: int = 0  # 0 was never opened, negative is closed
    owner: str = ""
    entries: tuple[Entry, ...] = ()


class Write(NamedTuple):
    kind: str
    segment: int
    epoch: int
    owner: str = ""
    entry: Entry = Entry(0, Body())


class Owner(NamedTuple):
    does: str
    epoch: int = 0
    segment: int = 0
    seq: int = 0
    knows: str = ""
    body: Body = Body()
    rolls: int = 0


class State(NamedTuple):
    hint: int
    segments: tuple[Segment, ...]
    owners: tuple[Owner, ...]
    ghosts: tuple[Write, ...]
    sends: tuple[int, ...]
    faults: int
    wrong: str = ""


GONE = Owner("gone")


@dataclass(frozen=True)
class JournalOwnership:
    messages: int = 2
    window: int = 1
    is_keyed: bool = False
    rolls: int = 1
    faults: int = 2
    can_give: bool = False
    mutant: Mutant = ""

    def starts(self) -> Iterator[State]:
        unknown = NEW * self.messages
        yield State(
            hint=0,
            segments=(Segment(1, "A"), *[Segment()] * (self.rolls + 2)),
            owners=(
                Owner("works", epoch=1, knows=unknown, rolls=self.rolls),
                Owner("idle", knows=unknown),
                Owner("idle", knows=unknown),
            ),
            ghosts=(),
            sends=(0,) * self.messages,
            faults=self.faults,
        )

    def moves(self, state: State) -> Iterator[tuple[str, State]]:
        for n, ghost in enumerate(state.ghosts):
            segments, _ = self._apply(state.segments, ghost)
            ghosts = state.ghosts[:n] + state.ghosts[n + 1 :]
            yield f"~late: {ghost}", self._tidy(state._replace(segments=segments, ghosts=ghosts))
        for n, owner in enumerate(state.owners):
            for label, after in self._moves_of(state, n, owner):
                yield f"{NAMES[n]} {label}", self._tidy(after)

    def wrong(self, state: State, *, is_quiet: bool) -> str | None:
        if state.wrong:
            return state.wrong
        if not self.is_keyed and max(state.sends) > 1:
            return f"S1 handed over twice: {state.sends}"
        believers = [
            owner
            for n, owner in enumerate(state.owners)
            if owner.does in ("reads", "works", "appends")
            and state.segments[owner.segment][:2] == (owner.epoch, NAMES[n])
        ]
        if len(believers) > 1:
            return "S6 two owners"
        uncertain = 0
        for message in range(self.messages):
            outcomes = {
                outcome
                for segment in state.segments
                for entry in segment.entries
                for about, outcome in entry.body.outcomes
                if about == message
            }
            uncertain += "uncertain" in outcomes
            if not self.is_keyed and len(outcomes) > 1:
                return f"S4 {message} is {outcomes}"
            if "taken" in outcomes and not state.sends[message]:
                return f"S3 {message} is taken and was never handed over"
            if state.owners[2].does == "done" and not outcomes:
                return f"S3 {message} is lost"
        if uncertain > self.window * (max(abs(segment.epoch) for segment in state.segments) - 1):
            return f"S5 {uncertain} are uncertain"
        if is_quiet and state.owners[2].does != "done":
            return f"S3 C cannot finish: {state.owners[2]}"
        return None

    # --- the store ----------------------------------------------------------------------------

    def _apply(
        self, segments: tuple[Segment, ...], write: Write
    ) -> tuple[tuple[Segment, ...], bool]:
        segment = segments[write.segment]
        after: Segment | None = None
        match write.kind:
            case "steal":
                unfenced = self.mutant == "a take-over is unfenced" and segment.epoch > 0
                if segment.epoch == write.epoch or unfenced:
                    after = segment._replace(epoch=write.epoch + 1, owner=write.owner)
            case "open":
                if segment.epoch == 0 or self.mutant == "opening is unfenced":
                    after = segment._replace(epoch=write.epoch, owner=write.owner)
            case "close":
                if segment.epoch == write.epoch:
                    after = segment._replace(epoch=-write.epoch)
            case "append":
                there = {entry.seq: entry for entry in segment.entries}
                is_mine = segment.epoch == write.epoch or self.mutant == "no fence"
                is_free = there.get(write.entry.seq, write.entry) == write.entry
                if is_mine and (is_free or self.mutant.endswith("over what is there")):
                    there[write.entry.seq] = write.entry
                    after = segment._replace(entries=tuple(sorted(there.values())))
            case _:
                raise AssertionError(write)
        return (segments, False) if after is None else (put(segments, write.segment, after), True)

    def _tidy(self, state: State) -> State:
        """Forget what can change nothing any more."""
        owners = tuple(
            GONE if owner.does == "gone" or (owner.does == "done" and n < 2) else owner
            for n, owner in enumerate(state.owners)
        )
        ghosts = state.ghosts
        if not self.mutant:
            ghosts = tuple(ghost for ghost in ghosts if self._may_apply(state, ghost))
        return state._replace(owners=owners, ghosts=ghosts)

    def _may_apply(self, state: State, ghost: Write) -> bool:
        epoch = state.segments[ghost.segment].epoch
        if ghost.kind == "open":
            return epoch == 0
        return 0 <= epoch <= ghost.epoch

    # --- an owner -----------------------------------------------------------------------------

    def _moves_of(self, state: State, n: int, owner: Owner) -> Iterator[tuple[str, State]]:
        segment = state.segments[owner.segment]
        match owner.does:
            case "idle":
                start = max(state.hint - (self.mutant != "whoever looks starts at the hint"), 0)
                looks = Owner("looks", segment=start, knows=owner.knows)
                yield f"looks at segment {start}", _with(state, n, looks)
            case "looks":
                yield from self._look(state, n, owner, segment)
            case "steals" | "opens anew":
                yield from self._take(state, n, owner)
            case "reads":
                yield self._read(state, n, owner)
            case "hints":
                closes = _with(state, n, owner._replace(does="closes"))
                hint = max(state.hint, owner.segment + 1)
                yield f"hints at {hint}", closes._replace(hint=hint)
            case "closes":
                write = Write("close", owner.segment, owner.epoch)
                for answer, after in self._write(state, write):
                    closed = after.segments[owner.segment].epoch == -owner.epoch
                    if answer is None:
                        yield "closes, no answer", after
                    elif answer or closed or self.mutant.startswith("a roll ignores"):
                        opens = owner._replace(does="opens", segment=owner.segment + 1, seq=0)
                        yield "closed its segment", _with(after, n, opens)
                    else:
                        yield "is fenced as it closes", _with(after, n, self._lost(n))
            case "opens":
                write = Write("open", owner.segment, owner.epoch, NAMES[n])
                for answer, after in self._write(state, write):
                    mine = after.segments[owner.segment][:2] == (owner.epoch, NAMES[n])
                    if answer is None:
                        yield "opens, no answer", after
                    elif answer or mine:
                        works = owner._replace(does="works", rolls=owner.rolls - 1)
                        yield f"opened segment {owner.segment}", _with(after, n, works)
                    else:
                        yield "is fenced as it opens", _with(after, n, self._lost(n))
            case "works":
                yield from self._work(state, n, owner)
            case "appends":
                yield from self._append(state, n, owner)
            case "gives":
                write = Write("steal", owner.segment, owner.epoch, "B")
                for answer, after in self._write(state, write):
                    if answer is None:
                        yield "gives the lane to B, no answer", after
                    else:
                        yield "gave the lane to B, or lost it", _with(after, n, GONE)
            case _:
                assert owner.does in ("gone", "done")

    def _lost(self, n: int) -> Owner:
        return GONE if n < 2 else Owner("idle", knows=NEW * self.messages)

    def _write(self, state: State, write: Write) -> Iterator[tuple[bool | None, State]]:
        segments, answer = self._apply(state.segments, write)
        applied = state._replace(segments=segments)
        yield answer, applied
        if state.faults:
            yield None, applied._replace(faults=state.faults - 1)
            ghosts = tuple(sorted((*state.ghosts, write)))
            yield None, state._replace(ghosts=ghosts, faults=state.faults - 1)

    def _look(
        self, state: State, n: int, owner: Owner, segment: Segment
    ) -> Iterator[tuple[str, State]]:
        if segment.epoch < 0:
            further = owner._replace(epoch=-segment.epoch, segment=owner.segment + 1)
            yield f"sees {owner.segment} closed", _with(state, n, further)
        elif segment.epoch == 0:
            if owner.epoch < 2 or n == 2:
                opens = owner._replace(does="opens anew", epoch=owner.epoch + 1)
                yield f"sees {owner.segment} unopened", _with(state, n, opens)
        elif segment.owner == NAMES[n]:
            reads = owner._replace(does="reads", epoch=segment.epoch)
            yield f"owns {owner.segment}", _with(state, n, reads)
        elif segment.epoch == 1 or n == 2:
            steals = owner._replace(does="steals", epoch=segment.epoch)
            yield f"sees epoch {segment.epoch}", _with(state, n, steals)
        else:
            yield "leaves it", _with(state, n, self._lost(n))

    def _take(self, state: State, n: int, owner: Owner) -> Iterator[tuple[str, State]]:
        kind = "steal" if owner.does == "steals" else "open"
        epoch = owner.epoch + (kind == "steal")
        write = Write(kind, owner.segment, owner.epoch, NAMES[n])
        for answer, after in self._write(state, write):
            if answer is None:
                yield f"{owner.does}, no answer", after
            elif answer or after.segments[owner.segment][:2] == (epoch, NAMES[n]):
                reads = owner._replace(does="reads", epoch=epoch)
                yield f"{owner.does} {owner.segment}", _with(after, n, reads)
            else:
                looks = owner._replace(does="looks")
                yield f"{owner.does} {owner.segment}: refused", _with(after, n, looks)

    def _read(self, state: State, n: int, owner: Owner) -> tuple[str, State]:
        entries = [
            entry for segment in state.segments[: owner.segment + 1] for entry in segment.entries
        ]
        claimed = {message for entry in entries for message in entry.body.claims}
        ended = {message for entry in entries for message, _ in entry.body.outcomes}
        knows = "".join(
            ENDED if message in ended else FOUND if message in claimed else NEW
            for message in range(self.messages)
        )
        last = max((entry.seq for entry in state.segments[owner.segment].entries), default=-1)
        seq = 0 if self.mutant.startswith("seq starts again") else last + 1
        works = owner._replace(does="works", seq=seq, knows=knows)
        return f"reads {knows}", _with(state, n, works)

    def _work(self, state: State, n: int, owner: Owner) -> Iterator[tuple[str, State]]:
        knows = owner.knows
        if owner.rolls > 0:
            if self.mutant == "a roll does not close":
                opens = owner._replace(does="opens", segment=owner.segment + 1, seq=0)
                rolled = _with(state, n, opens)
                yield "rolls", rolled._replace(hint=max(state.hint, owner.segment + 1))
            else:
                yield "rolls", _with(state, n, owner._replace(does="hints"))
        for message, known in enumerate(knows):
            if known == CLAIMED or (known == FOUND and self.is_keyed):
                yield from self._send(state, n, owner, message)
        outcomes = tuple(
            (message, "taken" if known == SENT else "uncertain")
            for message, known in enumerate(knows)
            if known == SENT or (known == FOUND and not self.is_keyed)
        )
        free = self.window - sum(known in (CLAIMED, SENT, FOUND) for known in knows)
        new = [message for message, known in enumerate(knows) if known == NEW]
        claims = tuple(new[: max(free + len(outcomes), 0)])
        for body in {Body(claims, outcomes), Body((), outcomes)} - {Body()}:
            yield f"issues {body}", _with(state, n, owner._replace(does="appends", body=body))
        if not new and not outcomes and set(knows) == {ENDED}:
            yield "is done", _with(state, n, owner._replace(does="done"))
        if self.can_give and n == 0 and set(knows) <= {NEW, ENDED}:
            yield "begins to give", _with(state, n, owner._replace(does="gives"))

    def _send(
        self, state: State, n: int, owner: Owner, message: int
    ) -> Iterator[tuple[str, State]]:
        is_claimed = any(
            message in entry.body.claims for segment in state.segments for entry in segment.entries
        )
        knows = owner.knows[:message] + SENT + owner.knows[message + 1 :]
        after = _with(state, n, owner._replace(knows=knows))._replace(
            sends=put(state.sends, message, state.sends[message] + 1),
            wrong=state.wrong or ("" if is_claimed else "S2 handed over without a claim"),
        )
        yield f"SENDS {message}", after

    def _append(self, state: State, n: int, owner: Owner) -> Iterator[tuple[str, State]]:
        entry = Entry(owner.seq, owner.body)
        for answer, after in self._write(
            state, Write("append", owner.segment, owner.epoch, entry=entry)
        ):
            if answer is None:
                yield from self._no_answer(after, n, owner)
            elif answer:
                knows = list(owner.knows)
                for message in owner.body.claims:
                    knows[message] = CLAIMED if knows[message] == NEW else knows[message]
                for message, _ in owner.body.outcomes:
                    knows[message] = ENDED
                works = owner._replace(
                    does="works", seq=owner.seq + 1, knows="".join(knows), body=Body()
                )
                yield f"appended {entry.seq}", _with(after, n, works)
            else:
                yield "is fenced", _with(after, n, self._lost(n))
        # What a deposed owner has claimed it may still hand over while its next append is out.
        for message, known in enumerate(owner.knows):
            if known == CLAIMED:
                yield from self._send(state, n, owner, message)
        if self.mutant == "hands over before the answer":
            for message in owner.body.claims:
                if owner.knows[message] == NEW:
                    yield from self._send(state, n, owner, message)

    def _no_answer(self, after: State, n: int, owner: Owner) -> Iterator[tuple[str, State]]:
        yield "appends, no answer", after
        if self.mutant.startswith("other bytes") and owner.body.claims:
            # It looks at the messages again and takes the other one first.
            new = [m for m, known in enumerate(owner.knows) if known == NEW]
            other = Body((new[-1],), owner.body.outcomes)
            yield "issues other bytes", _with(after, n, owner._replace(body=other))


def _with(state: State, n: int, owner: Owner) -> State:
    return state._replace(owners=put(state.owners, n, owner))


@pytest.mark.parametrize(
    ("model", "states_min"),
    [
        pytest.param(JournalOwnership(), 10_000, id="class 0"),
        pytest.param(JournalOwnership(is_keyed=True, faults=1), 10_000, id="class K"),
        pytest.param(JournalOwnership(messages=1, rolls=2, faults=1), 10_000, id="two rolls"),
        pytest.param(JournalOwnership(window=2, rolls=0), 10_000, id="F of 2"),
        pytest.param(JournalOwnership(can_give=True, rolls=0), 10_000, id="given to another"),
    ],
)
def test_a_lane_has_one_owner_and_its_journal_one_story(
    model: JournalOwnership, states_min: int
) -> None:
    assert_holds(model, states_min=states_min)


@pytest.mark.parametrize(
    ("mutant", "promise", "rolls"),
    [
        ("no fence", "S", 0),
        ("a take-over is unfenced", "S", 0),
        ("opening is unfenced", "S", 1),
        ("a roll does not close", "S", 1),
        ("a roll ignores that closing was refused", "S", 1),
        ("whoever looks starts at the hint", "S", 1),
        ("seq starts again, over what is there", "S", 0),
        ("other bytes after no answer, over what is there", "S", 0),
        ("hands over before the answer", "S", 0),
    ],
)
def test_a_mutant_breaks_it(mutant: Mutant, promise: str, rolls: int) -> None:
    assert_fails(JournalOwnership(mutant=mutant, rolls=rolls), promise)
