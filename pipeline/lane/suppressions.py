"""Which of a lane's candidates must not be claimed, because somebody wants nothing more.

A list belongs to a tenant, and the key of who is on it is hashed over all cores: it is not the
lane's to read along.  So a candidate whose tenant has a list waits until a read, by batch, says
whether its recipient is on it; and a tenant without a list costs nothing, as each process knows
which tenants have one (`ListingTenants`), read again every second.

Both answers count for a short while only (SUPPRESSION_FRESH_MS_MAX), from when their read began: so
whatever is claimed later than that after somebody was put on a list is not for them, however long
it lay in memory.  An answer that is too old, or of another clock, is asked for again; a process
that cannot know who has a list asks about everybody.

What waits for an answer stays a candidate, and takes no room from those behind it.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from pipeline.instant import Instant
from pipeline.lane.actions import Action, ReadSuppressions
from pipeline.lane.entry import EntryBuilder
from pipeline.lane.window import Candidate
from pipeline.lifecycle import EVENT_MASK, Event, next_claim
from pipeline.limits import (
    OUTCOME_DETAIL_CHARS_MAX,
    SUPPRESSION_FRESH_MS_MAX,
    SUPPRESSION_REPEAT_MS,
)
from pipeline.message import Body, MessageId, addressee_of, tenant_of
from pipeline.route.suppression import SuppressionKey, suppression_key

_FRESH_US: Final = SUPPRESSION_FRESH_MS_MAX * 1_000
_REPEAT_US: Final = SUPPRESSION_REPEAT_MS * 1_000

_Pair = tuple[MessageId, Candidate]


class ListingTenants:
    """The tenants that have a list, as all lanes of a process know them."""

    def __init__(self) -> None:
        self._tenants: Collection[str] | None = None
        self._as_of: Instant | None = None

    def on_read(self, tenants: Collection[str] | None, *, as_of: Instant) -> None:
        """Take what was read of every core, from `as_of` on; None: too many to tell."""
        self._tenants = None if tenants is None else frozenset(tenants)
        self._as_of = as_of

    def known(self, now: Instant) -> Collection[str] | None:
        """Return the tenants that have a list, None if that is not known as of now."""
        return self._tenants if _is_fresh(self._as_of, now) else None


class _Answer(NamedTuple):
    """What a read said of a message's recipient; `reason` None: is on no list."""

    body: Body  # another body may be for somebody else
    as_of: Instant
    reason: str | None


class _Asked(NamedTuple):
    message_id: MessageId
    body: Body


class Suppressions:
    """What one owner knows of its candidates.  Events and actions are those of its `Lane`."""

    def __init__(self, lists: ListingTenants) -> None:
        self._lists = lists
        # In the order of `as_of`, so that what is too old is at the front.
        self._answers: dict[MessageId, _Answer] = {}
        self._asked: dict[SuppressionKey, list[_Asked]] = {}
        self._asked_at = Instant(0)
        self._is_asking = False
        self._failed_at: Instant | None = None

        self.waiting_count = 0  # candidates that wait for an answer

    # --- events -------------------------------------------------------------------------------

    def on_read(self, found: Mapping[SuppressionKey, str | None], *, now: Instant) -> None:
        """Take why each key is on a list, None: is on none.  Keys without an answer are missing."""
        self._is_asking = False
        for key, asked in self._asked.items():
            if key not in found:
                self._failed_at = now
                continue
            for message_id, body in asked:
                self._answers.pop(message_id, None)
                self._answers[message_id] = _Answer(body, self._asked_at, found[key])
        # Those that were not answered for still wait.
        self._asked = {key: asked for key, asked in self._asked.items() if key not in found}
        self.waiting_count = sum(map(len, self._asked.values()))

    # --- decisions ----------------------------------------------------------------------------

    def may_ask(self, now: Instant) -> bool:
        """Return whether a candidate may need a read, and none is under way."""
        if self._is_asking:
            return False
        if self._failed_at is not None and 0 <= now - self._failed_at < _REPEAT_US:
            return False
        listing = self._lists.known(now)
        return listing is None or bool(listing)

    def ask(self, candidates: Sequence[_Pair], now: Instant) -> list[Action]:
        """Return the read that the candidates need, if they need one; `may_ask` comes first."""
        self._failed_at = None
        self._forget_old(now)
        self._asked, self.waiting_count = {}, 0
        for id_, body in self._unanswered(candidates, now):
            key = suppression_key(*addressee_of(body))
            self._asked.setdefault(key, []).append(_Asked(id_, body))
            self.waiting_count += 1
        if not self._asked:
            return []
        self._is_asking, self._asked_at = True, now
        return [ReadSuppressions(keys=list(self._asked))]

    def known(self, candidates: Sequence[_Pair], now: Instant) -> Sequence[_Pair]:
        """Return the candidates of which it is known whether their recipient is on a list."""
        waiting = {id_ for id_, _ in self._unanswered(candidates, now)}
        return [pair for pair in candidates if pair[0] not in waiting] if waiting else candidates

    def reasons(self, candidates: Sequence[_Pair], now: Instant) -> dict[int, str]:
        """Return why those of the candidates are on a list that are, by position.

        The candidates are `known`; of an answer that is not about them nothing follows.
        """
        listing = self._lists.known(now)
        if (listing is not None and not listing) or not self._answers:
            return {}
        is_listing = self._is_listing(listing)
        answers = self._answers
        found = {}
        for n, (id_, candidate) in enumerate(candidates):
            answer = answers.get(id_)
            if answer is None or answer.reason is None or not is_listing(candidate.group):
                continue
            found[n] = answer.reason
        return found

    def _unanswered(
        self, candidates: Sequence[_Pair], now: Instant
    ) -> Iterator[tuple[MessageId, Body]]:
        """Yield the candidates about which a list must be asked."""
        listing = self._lists.known(now)
        if listing is not None and not listing:
            return
        is_listing = self._is_listing(listing)
        answers, oldest = self._answers, now - _FRESH_US
        for id_, candidate in candidates:
            if not is_listing(candidate.group):
                continue
            answer = answers.get(id_)
            body = candidate.body
            assert body is not None, "a candidate has a body"
            # What lies ahead was read before the clock was set back: nobody knows how long ago.
            if answer is None or not oldest <= answer.as_of <= now or answer.body != body:
                yield id_, body

    @staticmethod
    def _is_listing(listing: Collection[str] | None) -> Callable[[str], bool]:
        """Return what tells whether the tenant of a group must be asked about."""
        if listing is None:
            return lambda _group: True
        groups: dict[str, bool] = {}

        def is_listing(group: str) -> bool:
            told = groups.get(group)
            if told is None:
                told = groups[group] = tenant_of(group) in listing
            return told

        return is_listing

    def _forget_old(self, now: Instant) -> None:
        """Forget what counts no more: of those claimed meanwhile, nobody asks again."""
        answers = self._answers
        while answers:
            oldest = next(iter(answers))
            if _is_fresh(answers[oldest].as_of, now):
                return
            del answers[oldest]


def _is_fresh(as_of: Instant | None, now: Instant) -> bool:
    return as_of is not None and 0 <= now - as_of <= _FRESH_US


def add_suppression_lines(
    builder: EntryBuilder, pairs: Sequence[_Pair], reasons: Sequence[str], *, room_bytes: int
) -> None:
    """Add the lines that end messages nobody wants; why, as far as there is room for it."""
    details: dict[int, str] = {}
    for n, reason in enumerate(reasons):
        cut = reason[:OUTCOME_DETAIL_CHARS_MAX]
        room_bytes -= 4 * len(cut) + 8
        if room_bytes < 0:
            break
        details[n] = cut
    builder.add_lines(
        message_ids=[id_ for id_, _ in pairs],
        partition_keys=[candidate.pk for _, candidate in pairs],
        steps=[next_claim(candidate.fold) - Event.CLAIM + Event.SUPPRESS for _, candidate in pairs],
        events_before=[(candidate.fold or 0) & EVENT_MASK for _, candidate in pairs],
        borns=[candidate.born for _, candidate in pairs],
        groups=[candidate.group for _, candidate in pairs],
        details=details,
    )
