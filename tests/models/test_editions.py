"""Which words leave, when somebody edits a message and owners come and go?

One message and one edit of it, owners A and B; A may be deposed at any time and goes on with
what it had begun.  A verdict stores the edited body as a draft, then appends the entry that names
it; who projects the entry confirms the draft and then writes the answer; the entry retires after
both.  A read of the body gives the confirmed edition, else the first body.  From the moment that
the entry is issued, or was read back, until the confirmation is acknowledged, the lane asks for no
body of the message; of a read that was under way when it was ruled on it takes none, whenever it
comes.

E1 once the journal names the edition, only its words are handed over.  E2 an edition that no entry
names changes no words.  E3 what is answered as done holds: its words leave.  E4 at the end the edit
is answered, if the journal names it, and the message handed over.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import pytest

from tests.models.search import assert_fails, assert_holds, put

Mutant = Literal[
    "",
    "a draft counts",
    "bodies are read while an edition waits",
    "a read under way is taken",
    "retired before it is confirmed",
    "a successor asks at once",
]


class Owner(NamedTuple):
    is_up: bool = True
    edit: str = "asked"  # asked, drafted, issued, named, confirmed, answered
    reading: str = ""  # the words that a read on its way brings
    is_stale: bool = False  # it was on its way when the message was ruled on
    words: str = ""  # those in memory
    stage: str = "waits"  # waits, claimed, sent


class State(NamedTuple):
    owners: tuple[Owner | None, Owner | None] = (Owner(), None)
    has_draft: bool = False
    is_confirmed: bool = False
    entry: str = ""  # "", named, retired
    is_answered: bool = False
    is_claimed: bool = False
    sent: str = ""
    wrong: str = ""


@dataclass(frozen=True)
class Editions:
    mutant: Mutant = ""

    def starts(self) -> Iterator[State]:
        yield State()

    def moves(self, state: State) -> Iterator[tuple[str, State]]:
        newest = 0 if state.owners[1] is None else 1
        for n, owner in enumerate(state.owners):
            if owner is not None and owner.is_up:
                for label, after, changed in self._moves_of(state, owner, is_owner=n == newest):
                    owners = put(after.owners, n, changed)
                    yield f"{'AB'[n]} {label}", after._replace(owners=(owners[0], owners[1]))
        if newest == 0:
            yield "B takes over", self._take_over(state)

    def wrong(self, state: State, *, is_quiet: bool) -> str | None:
        if state.wrong:
            return state.wrong
        if is_quiet:
            if not state.sent:
                return "E4 it is never handed over"
            if state.entry and not state.is_answered:
                return "E4 the edit is never answered"
        return None

    def _words(self, state: State) -> str:
        is_edited = state.is_confirmed or (self.mutant == "a draft counts" and state.has_draft)
        return "edited" if is_edited else "first"

    def _take_over(self, state: State) -> State:
        edit = "named" if state.entry == "named" else "answered" if state.entry else "asked"
        if self.mutant == "a successor asks at once" and edit == "named":
            edit = "named, and it asks"
        successor = Owner(edit=edit, stage="sent" if state.is_claimed else "waits")
        return state._replace(owners=(state.owners[0], successor))

    def _moves_of(
        self, state: State, owner: Owner, *, is_owner: bool
    ) -> Iterator[tuple[str, State, Owner]]:
        if owner.stage == "claimed":
            yield self._send(state, owner)
        yield from self._edit(state, owner, is_owner=is_owner)
        if not is_owner:
            return
        waits = owner.edit in ("issued", "named")
        if self.mutant == "bodies are read while an edition waits":
            waits = False
        if owner.stage == "waits" and not owner.words and not owner.reading and not waits:
            yield "asks for the body", state, owner._replace(reading=self._words(state))
        if owner.reading:
            read = owner._replace(reading="", is_stale=False)
            if not owner.is_stale or self.mutant == "a read under way is taken":
                read = read._replace(words=owner.reading)
            yield "has the body", state, read
        # While it is ruled on it is not claimed.
        if owner.stage == "waits" and owner.words and owner.edit not in ("drafted", "issued"):
            claimed = state._replace(is_claimed=True)
            yield "claims it", claimed, owner._replace(stage="claimed")

    def _send(self, state: State, owner: Owner) -> tuple[str, State, Owner]:
        wrong = state.wrong
        if state.entry and owner.words != "edited":
            wrong = wrong or "E1 the journal names an edition, and other words leave"
        if not state.entry and owner.words == "edited":
            wrong = wrong or "E2 words leave that no entry names"
        if state.is_answered and owner.words != "edited":
            wrong = wrong or "E3 done, and other words leave"
        after = state._replace(sent=owner.words, wrong=wrong)
        return f"SENDS the {owner.words} words", after, owner._replace(stage="sent")

    def _edit(
        self, state: State, owner: Owner, *, is_owner: bool
    ) -> Iterator[tuple[str, State, Owner]]:
        match owner.edit:
            case "asked":
                # What is claimed is answered with "too late"; nothing is stored for that here.
                if is_owner and owner.stage == "waits":
                    drafted = state._replace(has_draft=True)
                    yield "stores a draft", drafted, owner._replace(edit="drafted")
            case "drafted":
                # A draft is about the words that are in memory, which are let go.
                if is_owner:
                    is_stale = bool(owner.reading)
                    issued = owner._replace(edit="issued", words="", is_stale=is_stale)
                    yield "issues the entry", state, issued
            case "issued":
                if is_owner:
                    named = state._replace(entry="named")
                    yield "names the edition", named, owner._replace(edit="named")
                else:
                    yield "is fenced", state, owner._replace(is_up=False)
            case "named" | "named, and it asks":
                confirmed = state._replace(is_confirmed=True)
                yield "confirms it", confirmed, owner._replace(edit="confirmed")
                if self.mutant == "retired before it is confirmed" and is_owner:
                    retired = state._replace(entry="retired")
                    yield "retires early", retired, owner._replace(edit="answered")
            case "confirmed":
                answered = state._replace(is_answered=True)
                yield "answers", answered, owner._replace(edit="answered")
            case _:
                if is_owner and state.entry == "named" and state.is_answered:
                    yield "retires", state._replace(entry="retired"), owner


def test_the_words_that_the_journal_names_leave() -> None:
    assert_holds(Editions(), states_min=60)


@pytest.mark.parametrize(
    ("mutant", "promise"),
    [
        ("a draft counts", "E2"),
        ("bodies are read while an edition waits", "E1"),
        ("a read under way is taken", "E1"),
        ("retired before it is confirmed", "E"),
        ("a successor asks at once", "E1"),
    ],
)
def test_a_mutant_breaks_it(mutant: Mutant, promise: str) -> None:
    assert_fails(Editions(mutant), promise)
