"""What a refusal proves, and what silence does.

One message, a first connector of class K (it deduplicates by our key) or Q (it can be asked) and
another one to fall back to.  Owner A may be slow for ever between its claim and its hand-over; B
takes over at any time.  Requests travel: they arrive at any later time, also when who sent them is
gone, and answers may be lost.  A provider may refuse what it has not taken; class K says yes to a
key that it took before.  The journal is taken as right: after a take-over A can record nothing.

F1 at most one acceptance over all connectors.  F2 at the end of B there is a verdict, and `taken`
only if somebody took it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import pytest

from tests.models.search import assert_fails, assert_holds

COPIES_MAX = 3

Mutant = Literal[
    "",
    "every refusal is proof",
    "a claim found in the journal is clean",
    "what is not found is sent again",
    "a key for each copy",
    "silence is a refusal",
]


class Owner(NamedTuple):
    does: str
    copies: int = 0
    is_tainted: bool = False  # an earlier copy of this attempt may exist


class Request(NamedTuple):
    owner: int
    connector: int
    key: str


class Answer(NamedTuple):
    owner: int
    connector: int
    is_yes: bool


class State(NamedTuple):
    owners: tuple[Owner, Owner] = (Owner("claim"), Owner("idle"))
    requests: tuple[Request, ...] = ()
    answers: tuple[Answer, ...] = ()
    taken: tuple[int, int] = (0, 0)
    keys: frozenset[str] = frozenset()
    verdict: str = ""


@dataclass(frozen=True)
class Refusals:
    provider_class: Literal["K", "Q"] = "K"
    mutant: Mutant = ""

    def starts(self) -> Iterator[State]:
        yield State()

    def moves(self, state: State) -> Iterator[tuple[str, State]]:
        for n, request in enumerate(state.requests):
            rest = state._replace(requests=state.requests[:n] + state.requests[n + 1 :])
            yield from self._arrive(rest, request)
        yield from self._owner(state, 0)
        yield from self._owner(state, 1)

    def wrong(self, state: State, *, is_quiet: bool) -> str | None:
        if sum(state.taken) > 1:
            return f"F1 taken {state.taken} times"
        if state.verdict == "taken" and not sum(state.taken):
            return "F2 taken, and nobody took it"
        if state.owners[1].does == "done" and not state.verdict:
            return "F2 no verdict"
        return None

    def _arrive(self, state: State, request: Request) -> Iterator[tuple[str, State]]:
        first, second = state.taken
        took = state._replace(keys=state.keys | {request.key})
        outcomes = [(took._replace(taken=(first + 1, second)), True), (state, False)]
        if request.connector == 2:
            outcomes = [(state._replace(taken=(first, second + 1)), True)]
        elif self.provider_class == "K" and request.key in state.keys:
            outcomes = [(state, True)]
        for after, is_yes in outcomes:
            answer = Answer(request.owner, request.connector, is_yes)
            heard = tuple(sorted((*after.answers, answer)))
            yield f"~{request} arrives, {is_yes}", after._replace(answers=heard)
            yield f"~{request} arrives, {is_yes}, and nobody hears it", after

    def _owner(self, state: State, n: int) -> Iterator[tuple[str, State]]:
        me, owner = "AB"[n], state.owners[n]
        is_deposed = n == 0 and state.owners[1].does != "idle"

        def to(does: str, after: State = state, verdict: str = "", **other: object) -> State:
            new = Owner(does, owner.copies, owner.is_tainted)._replace(**other)  # type: ignore[arg-type]
            owners = (new, state.owners[1]) if n == 0 else (state.owners[0], new)
            return after._replace(owners=owners, verdict=verdict or after.verdict)

        match owner.does:
            case "idle":
                before = state.owners[0].does
                if before == "claim":
                    yield "B takes over, nothing is claimed", to("claim")
                elif before in ("send", "wait", "gone"):
                    asks = "ask" if self.provider_class == "Q" else "send"
                    is_tainted = not self.mutant.startswith("a claim found")
                    found = to(asks, copies=1, is_tainted=is_tainted)
                    yield "B takes over and finds a claim", found
            case "claim" | "claim elsewhere":
                is_first = owner.does == "claim"
                claimed = to("send" if is_first else "send elsewhere")
                yield f"{me} claims", to("gone") if is_deposed else claimed
            case "send" | "send elsewhere":
                is_first = owner.does == "send"
                key = f"k{owner.copies}" if self.mutant == "a key for each copy" else "k"
                request = Request(n, 1 if is_first else 2, key if is_first else "")
                sent = state._replace(requests=tuple(sorted((*state.requests, request))))
                waits = to(
                    "wait" if is_first else "wait elsewhere", sent, copies=owner.copies + is_first
                )
                yield f"{me} SENDS {request}", waits
            case "wait" | "wait elsewhere":
                for at, answer in enumerate(state.answers):
                    if answer[:2] == (n, 1 if owner.does == "wait" else 2):
                        heard = state._replace(answers=state.answers[:at] + state.answers[at + 1 :])
                        if is_deposed:
                            yield f"{me} hears, and is deposed", to("gone", heard)
                        elif answer.is_yes:
                            yield f"{me} hears yes", to("done", heard, "taken")
                        elif owner.is_tainted and self.mutant != "every refusal is proof":
                            if owner.copies < COPIES_MAX:
                                yield f"{me} hears no, which proves nothing", to("send", heard)
                            yield f"{me} gives up", to("done", heard, "uncertain")
                        else:
                            yield f"{me} falls back", to("claim elsewhere", heard)
                if is_deposed:
                    yield f"{me} hears nothing, and is deposed", to("gone")
                elif owner.does == "wait elsewhere":
                    yield f"{me} hears nothing elsewhere", to("done", verdict="uncertain")
                elif self.mutant == "silence is a refusal":
                    yield f"{me} takes silence for a refusal", to("claim elsewhere")
                elif self.provider_class == "K" and owner.copies < COPIES_MAX:
                    yield f"{me} hears nothing, sends a copy", to("send", is_tainted=True)
                else:
                    yield f"{me} hears nothing, gives up", to("done", verdict="uncertain")
            case "ask":
                if state.taken[0]:
                    yield f"{me} asks: it is there", to("done", verdict="taken")
                elif self.mutant == "what is not found is sent again":
                    yield f"{me} asks: not there, sends", to("send")
                else:
                    yield f"{me} asks until it gives up", to("done", verdict="uncertain")
            case _:
                assert owner.does in ("gone", "done")


@pytest.mark.parametrize("model", [Refusals("K"), Refusals("Q")], ids=["K", "Q"])
def test_what_was_not_surely_refused_goes_nowhere_else(model: Refusals) -> None:
    assert_holds(model, states_min=90)


@pytest.mark.parametrize(
    "model",
    [
        Refusals("K", "every refusal is proof"),
        Refusals("K", "a claim found in the journal is clean"),
        Refusals("K", "a key for each copy"),
        Refusals("Q", "what is not found is sent again"),
        Refusals("Q", "silence is a refusal"),
    ],
    ids=lambda model: model.mutant,
)
def test_a_mutant_breaks_it(model: Refusals) -> None:
    assert_fails(model, "F1")
