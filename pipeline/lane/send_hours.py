"""Whether a message may be handed over now, by the hours that its sender named.

When a message is accepted it becomes due within its hours.  It may be late all the same (its
connector was slow, off or broken, its group paused) and it may be tried again, so whoever claims it
looks once more.
"""

from collections.abc import Sequence
from typing import Final

from pipeline.errors import SubmissionInvalid
from pipeline.ingest.schedule import DEFAULT_ZONE
from pipeline.ingest.send_window import OpenHours, Opening
from pipeline.ingest.time_zone import zone_name_of
from pipeline.instant import Instant
from pipeline.lane.window import Candidate
from pipeline.message import BODY_WITHOUT_TIMES, Body, MessageId, hours_of

# How the bodies of almost all messages begin; none of the others need be looked into.
_WITHOUT_HOURS: Final = frozenset({BODY_WITHOUT_TIMES})


class SendHours:
    """Answers for the messages of one owner."""

    def __init__(self) -> None:
        self._hours = OpenHours(default_zone=DEFAULT_ZONE)
        self.is_any_closed = False
        """Whether `open_now` left any out since somebody set it back."""

    def opens_at(self, body: Body, at: Instant) -> Instant:
        """Return when the message may be handed over from then on: `at`, or when hours begin."""
        opening = self._opening(body, at)
        return at if opening is None else max(at, opening.opens_at)

    def leave_by(
        self, candidates: Sequence[tuple[MessageId, Candidate]], now: Instant, *, latest: Instant
    ) -> Instant:
        """Return the first closing of messages that may be handed over now, at most `latest`."""
        if _none_has_hours(candidates):
            return latest
        openings = (self._opening(c.body, now) for _, c in candidates if c.body is not None)
        closings = (one.closes_at for one in openings if one is not None)
        return min([latest, *(at for at in closings if at is not None)])

    def _opening(self, body: Body, at: Instant) -> Opening | None:
        """Return the hours of a message that are next; None if it has none that can be read."""
        named = hours_of(body)
        if named is None:
            return None
        window, time_zone, recipient = named
        zone = zone_name_of(recipient, explicit=time_zone or None, default=DEFAULT_ZONE)
        try:
            return self._hours.opening(window, zone, at)
        except SubmissionInvalid:
            return None  # a newer release accepted what this one cannot read: no reason to keep it

    def open_now(
        self, candidates: Sequence[tuple[MessageId, Candidate]], now: Instant
    ) -> Sequence[tuple[MessageId, Candidate]]:
        """Return those that may be handed over now."""
        if _none_has_hours(candidates):
            return candidates
        closed = {
            n
            for n, (_, candidate) in enumerate(candidates)
            if candidate.body is not None and self.opens_at(candidate.body, now) > now
        }
        self.is_any_closed |= bool(closed)
        return [pair for n, pair in enumerate(candidates) if n not in closed]


def _none_has_hours(candidates: Sequence[tuple[MessageId, Candidate]]) -> bool:
    return {c.body[0] for _, c in candidates if c.body is not None} <= _WITHOUT_HOURS
