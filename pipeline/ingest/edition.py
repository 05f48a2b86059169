"""What a message says after it was edited: other words, another time, or both.

Who it is from and for, its group and its channel stay: they say where it lies.  An end that was
only the longest validity after its time moves with the time; one that somebody named stays, and a
time behind it is refused.
"""

from typing import NamedTuple

import msgspec

from pipeline.errors import SubmissionInvalid
from pipeline.ingest.schedule import HORIZON_DAYS, SendTimes, parse_timing
from pipeline.ingest.submission import validate_body
from pipeline.instant import DurationMs, Instant, later
from pipeline.limits import SCHEDULE_MS_MAX
from pipeline.message import Body, Submission, encode_body


class Wish(NamedTuple):
    """What somebody wants changed, as they wrote it; "" or None: leave it as it is."""

    content: str | None = None
    due: str = ""
    expires: str = ""
    time_zone: str = ""


class Edition(NamedTuple):
    """The whole body from now on; `due_at` None: nothing was said about when it is due."""

    body: Body
    due_at: Instant | None


def edit(
    old: Submission,
    wish: Wish,
    *,
    born: Instant,
    now: Instant,
    times: SendTimes,
    validity_ms_max: DurationMs,
) -> Edition:
    """Return what a message becomes; raises `SubmissionInvalid`, which says what to change."""
    timing = parse_timing(
        due=wish.due,
        expires=wish.expires,
        window="",
        time_zone=wish.time_zone or old.time_zone,
        validity_ms_max=validity_ms_max,
    )
    new = old
    if wish.content is not None:
        new = msgspec.structs.replace(new, content=wish.content)
    due_at: Instant | None = None
    if wish.due or wish.expires:
        expires_at: int | None = timing.expires_at
        if not wish.expires and not _is_end_derived(old, validity_ms_max):
            expires_at = old.expires_at
        wanted = old.due_at
        if wish.due:
            wanted = timing.due_at
            if wanted is None:
                wanted = later(now, timing.delay_ms or 0)
            if wanted > later(born, SCHEDULE_MS_MAX):
                # Whether its key was used is known for no longer: it could be sent twice.
                raise SubmissionInvalid(
                    "due_at",
                    f"is more than {HORIZON_DAYS} days after the message was accepted;"
                    " cancel it and send a new one",
                )
        asked = msgspec.structs.replace(
            new, due_at=wanted, expires_at=expires_at, validity_ms=timing.validity_ms
        )
        new = times.resolve(asked, born=now if wish.due else born)
        if new.due_at is not None and new.expires_at is not None and new.expires_at <= new.due_at:
            raise SubmissionInvalid(
                "expires_at", "is over before the message is due; say another --expires"
            )
        if wish.due:
            assert new.due_at is not None, "a message with a time is due"
            due_at = Instant(new.due_at)
    body = Body(encode_body(new))
    validate_body(body, now=now)
    return Edition(body, due_at)


def _is_end_derived(old: Submission, validity_ms_max: DurationMs) -> bool:
    """Return whether nobody named an end."""
    if old.expires_at is None:
        return True
    return old.due_at is not None and old.expires_at == later(Instant(old.due_at), validity_ms_max)
