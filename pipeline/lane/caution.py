"""How a lane goes on after its owner crashed: what ended the process must not end it for ever.

Whatever a message is able to do, it does when it is touched: when its body is read and looked at,
or when it is handed over.  So after a crash the lane first names in its journal the messages that
it is about to touch (design 5.8).  Should the process end again, its successor knows which they
were, and touches each of them alone.  The one that ends the process then as well is in quarantine,
and touched by nobody any more.  What is tried is through when it was looked at, or its answer came,
or after a while: whoever waits for a provider is not what ends the process.

Until the outcome of its first own claim is journaled (or is not known after a while), the lane
claims one message at a time: where whatever is handed over ends the process, each crash leaves one
in doubt, and not F.

A lane that was given away or drained did not crash, and one that never did names nothing: all of
this costs a lane at work nothing.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from pipeline.instant import Instant, later
from pipeline.lane.window import Candidate
from pipeline.limits import POISON_ENDS_MAX, TRIAL_MS_MAX, Windows
from pipeline.message import MessageId

POISON: Final = "poison: the process ended each time that it was touched"

# How many ends are known of what was not tried by name: the crash before.
_ONE_END: Final = 1


class Caution:
    """What one owner may touch.  `tried` is what its predecessor named last, `ends` how often."""

    def __init__(
        self,
        *,
        is_after_crash: bool,
        tried: Sequence[MessageId],
        ends: int,
        windows: Windows,
        now: Instant,
    ) -> None:
        self._rows_max = windows.read_ahead_rows_max + windows.claims_open_max
        self._batch_max = windows.claims_open_max
        self._is_careful = is_after_crash
        self._begun_at = now
        self.is_window_one = is_after_crash
        self._own_claim_at: Instant | None = None  # the first that was handed over
        # Those that may be touched only by name, and at how many ends they were being touched.
        self._ends: dict[MessageId, int] = {}
        self._quarantined: frozenset[MessageId] = frozenset()
        if is_after_crash and len(tried) == 1 and ends + 1 >= POISON_ENDS_MAX:
            self._quarantined = frozenset(tried)
        elif is_after_crash:
            self._ends = dict.fromkeys(tried, ends + 1)
        self.suspects: dict[MessageId, Candidate] = {}

        # What is tried, or is to be once it is journaled; since when it may be touched.
        self._trial: dict[MessageId, Instant | None] = {}
        self._trial_ends = 0
        self._named: tuple[MessageId, ...] = tuple(tried) if is_after_crash else ()
        self._tried_count = 0

    @property
    def is_on(self) -> bool:
        """Whether anything may be touched only by name."""
        return self._is_careful or self.is_window_one or bool(self._ends) or bool(self._trial)

    @property
    def is_careful(self) -> bool:
        """Whether nothing may be touched but by name."""
        return self._is_careful

    @property
    def is_alone(self) -> bool:
        """Whether one message is tried alone: nothing else may be handed over."""
        return self._trial_ends > _ONE_END and bool(self._trial)

    @property
    def has_quarantine(self) -> bool:
        """Whether a message may not be touched at all."""
        return bool(self._quarantined)

    def is_quarantined(self, id_: MessageId) -> bool:
        """Return whether the message may not be touched at all."""
        return id_ in self._quarantined

    @property
    def holds_any(self) -> bool:
        """Whether `is_held` says so of any message."""
        return bool(self._ends or self._quarantined)

    def is_held(self, id_: MessageId) -> bool:
        """Return whether the message may be touched only by name, or not at all."""
        return id_ in self._ends or id_ in self._quarantined

    def keeps(self, id_: MessageId, candidate: Candidate) -> bool:
        """Return whether a message that waits to be claimed is in quarantine; then it is kept."""
        if id_ not in self._quarantined:
            return False
        self.suspects[id_] = candidate
        return True

    def let_go(self, ids: Iterable[MessageId]) -> None:
        """Forget what was kept: the next entry rules on it."""
        for id_ in ids:
            self.suspects.pop(id_, None)

    def note_claimed(self, ids: Iterable[MessageId]) -> None:
        """Note what was claimed when the predecessor ended, and is to be handed over again."""
        if self._is_careful:
            for id_ in ids:
                self._ends.setdefault(id_, _ONE_END)

    # --- what may be touched ------------------------------------------------------------------

    def may_touch(self, ids: Sequence[MessageId]) -> Sequence[MessageId]:
        """Return which of these may be touched now; others may be once they are journaled."""
        if not self.is_on:
            return ids
        trial, ends = self._trial, self._ends
        if not self.is_alone:
            guarded = [id_ for id_ in ids if id_ not in trial and (self._is_careful or id_ in ends)]
            alone = next((id_ for id_ in guarded if ends.get(id_, _ONE_END) > _ONE_END), None)
            if alone is None:
                room = self._batch_max - len(trial)
                trial.update(dict.fromkeys(guarded[: max(room, 0)]))
                self._trial_ends = _ONE_END
            elif not trial:
                trial[alone], self._trial_ends = None, ends[alone]
            if alone is None and not trial:
                return ids
        if self.is_alone or self._is_careful:
            return [id_ for id_ in ids if trial.get(id_) is not None]
        return [
            id_
            for id_ in ids
            if trial.get(id_) is not None or (id_ not in trial and id_ not in ends)
        ]

    def on_touched(self, ids: Iterable[MessageId]) -> None:
        """Note that these did not end the process."""
        for id_ in ids:
            if self._trial.pop(id_, None) is not None:
                self._ends.pop(id_, None)
                self._tried_count += 1

    def decide(self, now: Instant, *, is_read_through: bool) -> None:
        """Let go of what is through; `is_read_through`: all that is due has its body."""
        if not self.is_on:
            return
        self._begun_at = min(self._begun_at, now)
        self.on_touched(
            [
                id_
                for id_, since in self._trial.items()
                if since is not None and not since <= now <= later(since, TRIAL_MS_MAX)
            ]
        )
        if self._own_claim_at is not None:
            self._own_claim_at = min(self._own_claim_at, now)
            self.is_window_one &= now <= later(self._own_claim_at, TRIAL_MS_MAX)
        if self._is_careful and not self._trial:
            # What waits for others comes a little later than the rows.
            is_through = is_read_through and now > later(self._begun_at, TRIAL_MS_MAX)
            # The predecessor had no more rows than that in memory.
            self._is_careful = not is_through and self._tried_count < self._rows_max

    def on_own_claim(self, *, now: Instant) -> None:
        """Note that this owner hands over what it claimed."""
        if self._own_claim_at is None:
            self._own_claim_at = now

    def on_own_outcome(self) -> None:
        """Note that it is journaled what became of a message that this owner claimed."""
        self.is_window_one = False

    # --- what is journaled --------------------------------------------------------------------

    @property
    def trial(self) -> tuple[MessageId, ...]:
        """What the next entry names."""
        return tuple(self._trial)

    @property
    def ends(self) -> int:
        """At how many ends of owners in a row those were being touched; 0: none are tried."""
        return self._trial_ends if self._trial else 0

    @property
    def must_be_named(self) -> bool:
        """Whether the newest entry says something else."""
        return self._named != self.trial

    def on_applied(self, named: Sequence[MessageId], *, now: Instant) -> None:
        """Take the definite yes to an entry that names these: they may be touched."""
        self._named = tuple(named)
        for id_ in named:
            if id_ in self._trial and self._trial[id_] is None:
                self._trial[id_] = now
