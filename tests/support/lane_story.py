"""Stories about one lane, word by word: what happens to it, and what it wants done.

A word in small letters happens; then the lane decides.  A word in capitals looks at what the lane
asked for and was not answered yet.  `+250` lets 250 ms pass.  Names stand for messages; one is
born when it is first named.  `a~k` is a message of ordering key k.

    ring:a,b     a doorbell with bodies            hint:a     a doorbell without its body
    row:a        the answer to the read: a's row, stored now; `more:a`: and another page follows
    bodies:a     the answer to the read of bodies  folds:a=TAKE   the folds; others have none
    applied fenced      the answer to the append
    took unsent lost refused deferred    its answer for all of the oldest window handed over
    paused       the same as deferred, and it asks to be left alone for a second
    says:a=TAKE,b=NOT_SENT     its answer for each
    part:a=TAKE,c=REFUSE       its answer for some of it; the others stay with it
    tookas:a=x,b=y     the same as took; it names them so, and its receipts will
    noted notefails    the answer to what is noted of references
    settle       projection and books are answered, and appends that say nothing of claims
    due:a=5000   a's rows and timers from now on say: not before 5 s from now
    timer:a,b=2  the answer to the read of timers; `moretimers:a`: and another page follows
    row2:a       the answer to the read: a row of a's second attempt
    found:a      the provider has a, of those that it is asked for    oldbodies:a
    kept         the rows of next attempts are durable      keptnot   perhaps they are not

    KEEP:a=1000  rows of next attempts are being written, due in 1 s   KEEPFAR:a=   as timers
    CLAIM:a,b    the append in flight claims exactly these      CARRY:a   names these claims again
    SAYS:a=TAKE  and has exactly these other lines
    HAND:a,b     exactly these are being handed over            PROJECT:a=CLAIM
    NOTE:a=x     the names of messages that are being noted
    READ BODIES:a FOLDS:a      what is being read
    OPEN:2 WAITING:1           the counts that a person sees
    NOCLAIM NOHAND NOREAD NOBODIES NOFOLDS NOAPPEND   and so on: nothing of the kind is asked for
    LAGS CAUGHTUP DRAINED BUSY FENCED
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random
from typing import Final, TypeVar

from pipeline.instant import DurationMs, Instant, earlier, later
from pipeline.lane import actions as act
from pipeline.lane.entry import NOT_NAMED, Entry, decode_entry
from pipeline.lane.gate import Gate
from pipeline.lane.lane import Lane
from pipeline.lane.past import Past
from pipeline.lane.recovery import Recovered
from pipeline.lane.suppressions import ListingTenants
from pipeline.later import CommandPage, CommandRow, GroupOrder
from pipeline.lifecycle import EVENT_MASK, TRANSITIONS, Event, MessageState, Step, step_of
from pipeline.limits import Windows
from pipeline.message import AT_ONCE, Body, BufferRow, MessageId, PartitionKey, TimerRow
from pipeline.outcome import Outcomes
from pipeline.ports import BufferPage, TimerPage
from pipeline.route.retry_policy import RetryPolicy
from tests.support.fake_clock import NOW
from tests.support.gates import NoLists, gate_of, unlimited
from tests.support.lane_world import body_of

WINDOWS: Final = Windows(claims_open_max=4)
GROUP: Final = "default/g"

FIRST_EVENTS: Final = frozenset({Event.CLAIM, *TRANSITIONS[MessageState.ACCEPTED]})

ActionT = TypeVar("ActionT")


def id_of(name: str) -> MessageId:
    return MessageId(name.encode().ljust(16, b"."))


def pk_of(name: str) -> PartitionKey:
    """Return the partition key of a message; `a~k` shares that of key k."""
    _, _, key = name.partition("~")
    return PartitionKey(key.encode().ljust(16, b"_") if key else id_of(name))


def name_of(id_: bytes) -> str:
    return id_.decode().rstrip(".")


def fresh(*, offset: Instant | None = None, windows: Windows = WINDOWS) -> Recovered:
    """Return what is read back of a lane that nobody had before."""
    first = earlier(NOW, windows.prompt_ms) if offset is None else offset
    return Recovered(next_seq=0, offset=first, retired_through=-1, entries=[])


class NoJitter(Random):
    """Every delay is as long as it may be, so that a story can say when."""

    def random(self) -> float:
        return 1 - 1e-12


class LaneStory:
    """A lane and the answers that it waits for."""

    def __init__(
        self,
        recovered: Recovered | None = None,
        *,
        windows: Windows = WINDOWS,
        borns: dict[str, Instant] | None = None,
        gate: Gate | None = None,
        lists: ListingTenants | None = None,
        now: Instant = NOW,
        answers_rulings: bool = True,
    ) -> None:
        self.now = now
        self.asked: list[act.Action] = []
        self.journal: list[tuple[int, bytes]] = []
        self.borns = {} if borns is None else borns
        self.bodies: dict[str, Body] = {}
        self.dues: dict[str, Instant] = {}
        # What is asked for rulings is answered by itself, from here.
        self.answers_rulings = answers_rulings
        self.commands: list[CommandRow] = []
        self.orders: list[GroupOrder] = []
        self.timers: list[TimerRow] = []
        self.known_folds: dict[MessageId, Step] = {}
        self.known_pasts: dict[MessageId, Past] = {}
        self._said: dict[int, set[int]] = {}
        self.lane = Lane(
            recovered or fresh(windows=windows),
            windows=windows,
            gate=gate or gate_of(),
            admission=unlimited(),
            lists=lists or NoLists(),
            retry_policy=RetryPolicy(
                backoff_base_ms=DurationMs(1_000), backoff_cap_ms=DurationMs(3_600_000)
            ),
            chance=NoJitter(),
            now=self.now,
        )
        self._decide()

    def tell(self, story: str) -> "LaneStory":
        """Go through a story; an assertion names the word that it fails at."""
        words = story.split()
        for number, word in enumerate(words):
            try:
                self._word(word)
            except AssertionError as error:
                told = " ".join((*words[:number], f">>{word}<<", *words[number + 1 :]))
                raise AssertionError(f"{told}\n{error}\nasked for: {self.asked}") from error
        return self

    # --- for tests that look closer -----------------------------------------------------------

    @property
    def entry(self) -> Entry | None:
        """What the append in flight says."""
        appends = self._asked(act.Append)
        return decode_entry(appends[0].body) if appends else None

    def asked_for(self, kind: type[ActionT]) -> ActionT:
        """Return the only action of a kind that waits for its answer."""
        (action,) = self._asked(kind)
        return action

    def row(self, name: str, *, at: Instant | None = None, attempt: int = 1) -> BufferRow:
        """Return a message's row, as the buffer has it."""
        id_, born = id_of(name), self.born(name)
        due_at = self.dues.get(name, AT_ONCE)
        return (at or self.now, id_, pk_of(name), born, attempt, due_at, GROUP)

    def born(self, name: str) -> Instant:
        return self.borns.setdefault(name, self.now)

    def body(self, name: str) -> Body:
        return self.bodies.setdefault(name, body_of(name))

    def answer_read(
        self,
        rows: Sequence[BufferRow],
        *,
        resume: bytes | None = None,
        through: Instant | None = None,
    ) -> None:
        self._take(act.ReadRows)
        self.lane.on_rows(BufferPage(rows, resume), through=through or self.now)
        self._decide()

    def pass_time(self, duration_ms: int) -> None:
        self.now = later(self.now, duration_ms)
        self._decide()

    # --- words --------------------------------------------------------------------------------

    def _word(self, word: str) -> None:
        if word.startswith("+"):
            self.pass_time(int(word))
            return
        verb, _, arguments = word.partition(":")
        names = arguments.split(",") if arguments else []
        getattr(self, f"_{verb}")(*([names] if arguments else []))
        if verb.islower():
            self._decide()

    def _decide(self) -> None:
        self.asked.extend(self.lane.decide(self.now))
        while self.answers_rulings and self._answer_ruling():
            self.asked.extend(self.lane.decide(self.now))
        assert len(self._asked(act.Append)) <= 1, "two appends in flight"
        assert len(self._asked(act.Project)) <= 1, "two projections under way"
        is_over = self.lane.is_fenced or self.lane.is_drained
        assert is_over or self.lane.wake_at() > self.now, "it would never sleep"

    def _answer_ruling(self) -> bool:
        """Answer what is asked for rulings, as a store does that answers at once."""
        decisions = self.lane.decisions
        for action in self.asked:
            match action:
                case act.ReadCommands():
                    rows = [row for row in self.commands if action.from_at <= row[0] <= self.now]
                    decisions.on_commands(CommandPage(rows, None), through=self.now)
                case act.ReadGroupOrders():
                    decisions.on_orders(self.orders)
                case act.ReadGroupTimers():
                    rows_of = [row for row in self.timers if row[0] >= action.from_due]
                    decisions.on_timers(TimerPage(rows_of, None))
                case act.ReadRuledFolds(keys=keys):
                    decisions.on_folds([id_ for _, id_ in keys], self.known_folds, self.known_pasts)
                case act.ReadRuledBodies(keys=keys):
                    decisions.on_bodies({id_: self.body(name_of(id_)) for _, id_ in keys})
                case _:
                    continue
            self.asked.remove(action)
            return True
        return False

    def _born(self, names: list[str]) -> None:
        for name in names:
            self.born(name)

    def _expiring(self, names: list[str]) -> None:
        for name in names:
            name, _, after_ms = name.partition("=")
            self.bodies[name] = body_of(name, later(self.now, int(after_ms)))

    def _ring(self, names: list[str], *, with_bodies: bool = True) -> None:
        ids = [id_of(name) for name in names]
        self.lane.on_doorbell(
            message_ids=ids,
            partition_keys=[pk_of(name) for name in names],
            borns=[self.born(name) for name in names],
            groups=[GROUP] * len(names),
            bodies=[self.body(name) if with_bodies else Body(b"") for name in names],
        )

    def _hint(self, names: list[str]) -> None:
        self._ring(names, with_bodies=False)

    def _row(self, names: list[str] = []) -> None:  # noqa: B006 -- read only
        self.answer_read([self.row(name) for name in names])

    def _more(self, names: list[str]) -> None:
        self.answer_read([self.row(name) for name in names], resume=b"more")

    def _readfails(self) -> None:
        self._take(act.ReadRows)
        self.lane.on_read_failed()

    def _bodies(self, names: list[str] = []) -> None:  # noqa: B006
        asked = [id_ for _, id_ in self._take(act.ReadBodies).keys]
        self.lane.on_bodies(asked, {id_of(name): self.body(name) for name in names}, now=self.now)

    def _bodiesfail(self) -> None:
        self._take(act.ReadBodies)
        self.lane.on_bodies_failed(now=self.now)

    def _folds(self, names: list[str] = []) -> None:  # noqa: B006
        asked = [id_ for _, id_ in self._take(act.ReadFolds).keys]
        folds: dict[MessageId, Step] = {}
        for name in names:
            name, _, event = name.partition("=")
            event, _, attempt = event.partition("/")
            folds[id_of(name)] = step_of(attempt=int(attempt or 1), try_no=1, event=Event[event])
        self.lane.on_folds(asked, folds, self.known_pasts)

    def _foldsfail(self) -> None:
        self._take(act.ReadFolds)
        self.lane.on_folds_failed(now=self.now)

    def _applied(self) -> None:
        append = self._take(act.Append)
        self.journal.append((append.seq, append.body))
        self.lane.on_applied(append.seq, now=self.now)

    def _fenced(self) -> None:
        self._take(act.Append)
        self.lane.on_fenced()

    def _took(self) -> None:
        self._end_window(lambda _: Event.TAKE)

    def _unsent(self) -> None:
        self._end_window(lambda _: Event.NOT_SENT)

    def _deferred(self) -> None:
        self._end_window(lambda _: Event.DEFER)

    def _paused(self) -> None:
        window = self._take(act.HandOverWindow)
        count = len(window.message_ids)
        waits = dict.fromkeys(range(count), DurationMs(1_000))
        outcomes = replace(Outcomes.all_alike(Event.DEFER, count), retry_after_ms=waits)
        self.lane.on_outcomes(window.seq, outcomes, now=self.now)

    def _due(self, names: list[str]) -> None:
        for name in names:
            name, _, after_ms = name.partition("=")
            self.dues[name] = later(self.now, int(after_ms))

    def _row2(self, names: list[str]) -> None:
        self.answer_read([self.row(name, attempt=2) for name in names])

    def _timer(self, names: list[str] = [], *, resume: bytes | None = None) -> None:  # noqa: B006
        self._take(act.ReadTimers)
        rows: list[TimerRow] = []
        for name in names:
            name, _, attempt = name.partition("=")
            id_, due_at = id_of(name), self.dues[name]
            rows.append((due_at, id_, pk_of(name), self.born(name), int(attempt or 1), GROUP))
        self.lane.on_timers(TimerPage(rows, resume))

    def _moretimers(self, names: list[str]) -> None:
        self._timer(names, resume=b"more")

    def _timersfail(self) -> None:
        self._take(act.ReadTimers)
        self.lane.on_timers_failed(now=self.now)

    def _kept(self) -> None:
        self._take(act.WriteLater)
        self.lane.on_later_written()

    def _keptnot(self) -> None:
        self._take(act.WriteLater)
        self.lane.on_later_failed(now=self.now)

    def _KEEP(self, names: list[str]) -> None:  # noqa: N802
        rows = self.asked_for(act.WriteLater).rows
        assert [f"{name_of(r[0])}={(r[4] - self.now + 1) // 1_000}" for r in rows] == names

    def _KEEPFAR(self, names: list[str]) -> None:  # noqa: N802
        rows = self.asked_for(act.WriteLater).timers
        assert [f"{name_of(r[1])}={(r[0] - self.now + 1) // 1_000}" for r in rows] == names

    def _NOKEEP(self) -> None:  # noqa: N802
        assert not self._asked(act.WriteLater)

    def _TIMERS(self) -> None:  # noqa: N802
        self.asked_for(act.ReadTimers)

    def _NOTIMERS(self) -> None:  # noqa: N802
        assert not self._asked(act.ReadTimers)

    def _tookas(self, names: list[str]) -> None:
        """Take all of the oldest window; of some it says by which name it knows them."""
        window = self._take(act.HandOverWindow)
        by_name = dict(name.split("=") for name in names)
        ids = [name_of(id_) for id_ in window.message_ids]
        self.lane.on_outcomes(
            window.seq,
            Outcomes(
                events=bytes([Event.TAKE] * len(ids)),
                references={n: by_name[name] for n, name in enumerate(ids) if name in by_name},
            ),
            positions=window.positions,
            now=self.now,
        )

    def _NOTE(self, names: list[str]) -> None:  # noqa: N802
        rows = self.asked_for(act.NoteReferences).rows
        assert [f"{name_of(r.message_id)}={r.detail.split(' ')[1]}" for r in rows] == names

    def _NONOTE(self) -> None:  # noqa: N802
        assert not self._asked(act.NoteReferences)

    def _noted(self) -> None:
        self._take(act.NoteReferences)
        self.lane.references.on_noted()

    def _notefails(self) -> None:
        self._take(act.NoteReferences)
        self.lane.references.on_note_failed(now=self.now)

    def _lost(self) -> None:
        self._end_window(lambda _: Event.LOSE_ANSWER)

    def _refused(self) -> None:
        self._end_window(lambda _: Event.REFUSE)

    def _says(self, names: list[str]) -> None:
        event_of = dict(name.split("=") for name in names)
        self._end_window(lambda name: Event[event_of[name]])

    def _part(self, names: list[str]) -> None:
        """Answer for some of the oldest window; whoever has said all of it is done with it."""
        (window, *_) = self._asked(act.HandOverWindow)
        event_of = dict(name.split("=") for name in names)
        at = [n for n, id_ in enumerate(window.message_ids) if name_of(id_) in event_of]
        events = bytes(Event[event_of[name_of(window.message_ids[n])]] for n in at)
        said = self._said.setdefault(id(window), set())
        said.update(at)
        if len(said) == len(window.message_ids):
            self._take(act.HandOverWindow)
        if window.positions is not None:
            at = [window.positions[n] for n in at]
        self.lane.on_outcomes(window.seq, Outcomes(events=events), positions=at, now=self.now)

    def _end_window(self, event_of: Callable[[str], Event]) -> None:
        window = self._take(act.HandOverWindow)
        events = bytes(event_of(name_of(id_)) for id_ in window.message_ids)
        self.lane.on_outcomes(
            window.seq, Outcomes(events=events), positions=window.positions, now=self.now
        )

    def _found(self, names: list[str] = []) -> None:  # noqa: B006
        ask = self._take(act.AskProvider)
        found = {
            n: name_of(id_) in names for n, id_ in zip(ask.positions, ask.message_ids, strict=True)
        }
        self.lane.on_found(ask.seq, found, now=self.now)

    def _oldbodies(self, names: list[str]) -> None:
        self._take(act.ReadClaimedBodies)
        self.lane.on_claimed_bodies({id_of(name): self.body(name) for name in names}, now=self.now)

    def _ASK(self, names: list[str]) -> None:  # noqa: N802
        assert [name_of(id_) for id_ in self.asked_for(act.AskProvider).message_ids] == names

    def _NOASK(self) -> None:  # noqa: N802
        assert not self._asked(act.AskProvider)

    def _OLDBODIES(self, names: list[str]) -> None:  # noqa: N802
        keys = self.asked_for(act.ReadClaimedBodies).keys
        assert [name_of(id_) for _, id_ in keys] == names

    def _DOUBT(self, counts: list[str]) -> None:  # noqa: N802
        assert len(self.lane.claims.doubts) == int(counts[0])

    def _projected(self) -> None:
        self._take(act.Project)
        self.lane.projection.on_projected()

    def _projectfails(self) -> None:
        self._take(act.Project)
        self.lane.projection.on_project_failed(now=self.now)

    def _booksread(self) -> None:
        self._take(act.ReadBooks)
        self.lane.projection.on_books_read([])

    def _booksreadfails(self) -> None:
        self._take(act.ReadBooks)
        self.lane.projection.on_books_read_failed(now=self.now)

    def _bookswritten(self) -> None:
        self._take(act.WriteBooks)
        self.lane.projection.on_books_written()

    def _bookswritefails(self) -> None:
        self._take(act.WriteBooks)
        self.lane.projection.on_books_write_failed(now=self.now)

    def _settle(self) -> None:
        self._decide()
        for _ in range(100):
            if self._asked(act.Project):
                self._projected()
            elif self._asked(act.ReadBooks):
                self._booksread()
            elif self._asked(act.WriteBooks):
                self._bookswritten()
            elif (entry := self.entry) is not None and not entry.message_ids:
                self._applied()
            else:
                return
            self._decide()
        raise AssertionError("it never settles")

    def _drain(self) -> None:
        self.lane.drain()

    # --- what is asked for --------------------------------------------------------------------

    def _CLAIM(self, names: list[str]) -> None:  # noqa: N802 -- a word in capitals
        assert self._claims(fresh=True) == names

    def _NOCLAIM(self) -> None:  # noqa: N802
        assert self._claims(fresh=True) == []

    def _CARRY(self, names: list[str]) -> None:  # noqa: N802
        assert self._claims(fresh=False) == names

    def _NOCARRY(self) -> None:  # noqa: N802
        assert self._claims(fresh=False) == []

    def _NOAPPEND(self) -> None:  # noqa: N802
        assert not self._asked(act.Append)

    def _SAYS(self, names: list[str]) -> None:  # noqa: N802
        assert self._other_lines() == names

    def _HAND(self, names: list[str]) -> None:  # noqa: N802
        windows = self._asked(act.HandOverWindow)
        assert [name_of(id_) for window in windows for id_ in window.message_ids] == names
        for window in windows:
            assert list(window.bodies) == [self.body(name_of(id_)) for id_ in window.message_ids]

    def _NOHAND(self) -> None:  # noqa: N802
        assert not self._asked(act.HandOverWindow)

    def _READ(self) -> None:  # noqa: N802
        self.asked_for(act.ReadRows)

    def _NOREAD(self) -> None:  # noqa: N802
        assert not self._asked(act.ReadRows)

    def _BODIES(self, names: list[str]) -> None:  # noqa: N802
        assert [name_of(id_) for _, id_ in self.asked_for(act.ReadBodies).keys] == names

    def _NOBODIES(self) -> None:  # noqa: N802
        assert not self._asked(act.ReadBodies)

    def _FOLDS(self, names: list[str]) -> None:  # noqa: N802
        assert [name_of(id_) for _, id_ in self.asked_for(act.ReadFolds).keys] == names

    def _NOFOLDS(self) -> None:  # noqa: N802
        assert not self._asked(act.ReadFolds)

    def _PROJECT(self, names: list[str]) -> None:  # noqa: N802
        rows = self.asked_for(act.Project).rows
        assert [f"{name_of(row[0])}={Event(row[2] & EVENT_MASK).name}" for row in rows] == names

    def _NOPROJECT(self) -> None:  # noqa: N802
        assert not self._asked(act.Project)

    def _BOOKSREAD(self) -> None:  # noqa: N802
        self.asked_for(act.ReadBooks)

    def _NOBOOKSREAD(self) -> None:  # noqa: N802
        assert not self._asked(act.ReadBooks)

    def _BOOKSWRITE(self) -> None:  # noqa: N802
        self.asked_for(act.WriteBooks)

    def _NOBOOKSWRITE(self) -> None:  # noqa: N802
        assert not self._asked(act.WriteBooks)

    def _OPEN(self, counts: list[str]) -> None:  # noqa: N802
        assert self.lane.open_count == int(counts[0])

    def _WAITING(self, counts: list[str]) -> None:  # noqa: N802
        assert self.lane.backlog_count == int(counts[0])

    def _LAGS(self) -> None:  # noqa: N802
        assert self.lane.is_lagging

    def _CAUGHTUP(self) -> None:  # noqa: N802
        assert not self.lane.is_lagging

    def _DRAINED(self) -> None:  # noqa: N802
        assert self.lane.is_drained

    def _BUSY(self) -> None:  # noqa: N802
        assert not self.lane.is_drained

    def _FENCED(self) -> None:  # noqa: N802
        assert self.lane.is_fenced
        assert self.lane.decide(self.now) == []

    def _claims(self, *, fresh: bool) -> list[str]:
        entry = self.entry
        if entry is None:
            return []
        return [
            name_of(id_)
            for id_, step, before in zip(
                entry.message_ids, entry.steps, entry.events_before, strict=True
            )
            if step & EVENT_MASK == Event.CLAIM and (before != Event.CLAIM) == fresh
        ]

    def _other_lines(self) -> list[str]:
        entry = self.entry
        if entry is None:
            return []
        for step, before in zip(entry.steps, entry.events_before, strict=True):
            if before == NOT_NAMED:
                assert step & EVENT_MASK in FIRST_EVENTS
        return [
            f"{name_of(id_)}={Event(step & EVENT_MASK).name}"
            for id_, step in zip(entry.message_ids, entry.steps, strict=True)
            if step & EVENT_MASK != Event.CLAIM
        ]

    def _asked(self, kind: type[ActionT]) -> list[ActionT]:
        return [action for action in self.asked if isinstance(action, kind)]

    def _take(self, kind: type[ActionT]) -> ActionT:
        found = self._asked(kind)
        assert found, f"no {kind.__name__} is asked for"
        self.asked.remove(found[0])  # type: ignore[arg-type]
        return found[0]


__all__ = ["GROUP", "NOW", "WINDOWS", "LaneStory", "fresh", "id_of", "name_of"]
