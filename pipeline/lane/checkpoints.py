"""The checkpoints of one owner: how far all below is resolved, and when it is worth saying so.

Only what is definitely journaled counts as the offset: what an append in flight carries may never
come about.
"""

from pipeline.instant import Instant, later
from pipeline.lane.backlog import Backlog
from pipeline.lane.caution import Caution
from pipeline.lane.commands import Commands
from pipeline.lane.entry import AS_THE_OFFSET, Checkpoint
from pipeline.lane.projection import Projection
from pipeline.lane.recent import RecentSet
from pipeline.lane.recovery import Recovered
from pipeline.lane.references import References
from pipeline.lane.timers import Timers
from pipeline.limits import Windows


class Checkpoints:
    """What the last journaled checkpoint says, and the next one."""

    def __init__(
        self,
        recent: RecentSet,
        backlog: Backlog,
        timers: Timers,
        commands: Commands,
        caution: Caution,
        projection: Projection,
        references: References,
        *,
        recovered: Recovered,
        windows: Windows,
        now: Instant,
    ) -> None:
        self._recent = recent
        self._backlog = backlog
        self._timers = timers
        self._commands = commands
        self._caution = caution
        self._projection = projection
        self._references = references
        self._windows = windows
        self._issued_at = now
        self.offset = recovered.offset
        self._ordered_offset = recovered.ordered_offset or recovered.offset
        self.retired_through = recovered.retired_through
        self._timer_cursor = recovered.timer_cursor
        self._command_cursor = recovered.command_cursor
        self.missed_count = self._missed_journaled = recovered.missed

    @property
    def resolved_through(self) -> Instant:
        """Below it no row of whatever kind is open."""
        return min(self.offset, self._ordered_offset)

    def on_issued(self, now: Instant) -> None:
        """Note that the one just returned is on its way."""
        self._issued_at = now

    def on_applied(self, journaled: Checkpoint) -> None:
        """Note that it is definitely in the journal."""
        self.offset = journaled.offset
        self._ordered_offset = journaled.ordered_offset or journaled.offset
        self._timer_cursor = journaled.timer_cursor
        self._command_cursor = journaled.command_cursor
        self._missed_journaled = journaled.missed
        self.retired_through = journaled.retired_through

    def on_clock_set_back(self, now: Instant) -> None:
        """Wait for nothing that lies as far ahead as the clock was set back."""
        self._issued_at = min(self._issued_at, now)

    def next(
        self,
        now: Instant,
        *,
        has_lines: bool,
        command_cursor: Instant | None,
        is_draining: bool,
    ) -> Checkpoint | None:
        """Return the checkpoint that the next entry should carry, if it is worth one.

        One that carries out commands (it has a `command_cursor`) always does: its cursor says that
        they are.
        """
        cursor = max(self._command_cursor, self._commands.done_through)
        is_needed = command_cursor is not None
        # What is to be touched is named with how often it was; what is through, no longer.
        is_needed |= self.missed_count != self._missed_journaled
        is_needed |= self._caution.ends > 0 if has_lines else self._caution.must_be_named
        if command_cursor is not None:
            cursor = max(cursor, command_cursor)
        if (
            not is_needed
            and now < later(self._issued_at, self._windows.checkpoint_ms)
            and not (is_draining and not has_lines)
        ):
            return None
        offset = max(self.offset, self._backlog.resolved_before())
        retired_through = self._recent.retirable_through(
            offset=offset,
            prompt_us=self._windows.prompt_ms * 1_000,
            done_through=min(self._projection.done_through, self._references.done_through),
        )
        retired_through = max(retired_through, self.retired_through)
        ordered_offset = max(self._ordered_offset, self._backlog.ordered_resolved_before())
        timer_cursor = max(
            self._timer_cursor, self._timers.resolved_before(self._backlog.held.is_resolved)
        )
        if has_lines:
            is_worth_it = (
                offset > self.offset
                or ordered_offset > self._ordered_offset
                or retired_through > self.retired_through
            )
        else:
            # An idle lane writes nothing: only what spares a successor work is worth an entry.
            newest_row_at = self._backlog.cursor.newest_row_at
            rows_below = newest_row_at is not None and (
                self.offset <= newest_row_at and offset > self.offset
            )
            newest_ordered_at = self._backlog.order.newest_at
            rows_below |= newest_ordered_at is not None and (
                self._ordered_offset <= newest_ordered_at < ordered_offset
            )
            newest_due_at = self._timers.newest_due_at
            timers_below = newest_due_at is not None and (
                self._timer_cursor <= newest_due_at < timer_cursor
            )
            is_worth_it = (
                rows_below or timers_below or self._recent.names_any_through(retired_through)
            )
        if not (is_worth_it or is_needed):
            return None
        return Checkpoint(
            offset=offset,
            retired_through=retired_through,
            timer_cursor=timer_cursor,
            command_cursor=cursor,
            starts=self._caution.ends,
            missed=self.missed_count,
            ordered_offset=AS_THE_OFFSET if ordered_offset == offset else ordered_offset,
        )
