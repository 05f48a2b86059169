"""Submissions: from records to the bytes that are stored, and from such bytes back, distrusted.

A door builds bodies a thousand records at a time: fields are rendered column by column, what a
file says once for all its lines (channel, tenant, priority) is checked once, and one loop
canonicalizes the recipient, checks the content and encodes.  A record that is refused never stops
the others.  An ingester that does not trust its door runs `validate_body`, which keeps the same
rules for bytes from anywhere.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import repeat
from typing import Final, NamedTuple, Protocol

import msgspec

from pipeline.errors import SubmissionInvalid
from pipeline.ingest.metadata import HALF_CHARACTER, check_metadata, check_metadata_keys
from pipeline.ingest.ordering import check_ordering_key
from pipeline.ingest.recipient import Canonicalize, canonicalizer
from pipeline.ingest.schedule import (
    NO_TIMING,
    Timing,
    check_timing,
    parse_timing,
    validate_timing,
)
from pipeline.ingest.template import Record, Rendered
from pipeline.instant import DurationMs, Instant
from pipeline.limits import (
    BODY_BYTES_MAX,
    CONTENT_BYTES_MAX,
    GROUP_CHARS_MAX,
    TENANT_CHARS_MAX,
    Windows,
)
from pipeline.message import PRIORITIES, Body, Submission, decode_body, encode_fields

_tenant: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*").fullmatch
_PRIORITY_CHARS_MAX: Final = 16
_ENVELOPES_REMEMBERED: Final = 4_096
_INSTANT_MAX: Final = 2**63 - 1

_NO_TIMES: Final = NO_TIMING[1:]
_NO_METADATA: Final[Mapping[str, str]] = {}

# `build_bodies` writes the fields of a body itself.
assert Submission.__struct_encode_fields__ == (
    *("expires_at", "tenant", "channel", "recipient", "content", "group", "priority", "metadata"),
    *("due_at", "window", "time_zone", "delay_ms", "validity_ms", "ordering_key"),
)
assert Timing._fields == ("expires_at", *Submission.__struct_encode_fields__[8:13])

# A character has at most four bytes, so fewer characters than this need no counting of bytes.
_CONTENT_CHARS_SURE: Final = CONTENT_BYTES_MAX // 4


class FieldSource(Protocol):
    """Where the text of a field comes from: a template, or something made up."""

    @property
    def constant(self) -> str | None:
        """The text that every record gets, None if it depends on the record."""
        ...

    def render_all(self, records: Sequence[Record], numbers: Sequence[int]) -> Rendered:
        """Return one text for each record."""
        ...


class _Envelope(NamedTuple):
    """What many submissions share, checked and in canonical form."""

    tenant: str
    channel: str
    group: str
    priority: str
    canonicalize: Canonicalize


def check_tenant(tenant: str) -> None:
    """Raise `SubmissionInvalid` for a text that is no name of a tenant."""
    if not 0 < len(tenant) <= TENANT_CHARS_MAX or not _tenant(tenant):
        raise SubmissionInvalid(
            "tenant",
            f"1 to {TENANT_CHARS_MAX} letters, digits, dots, dashes and underscores,"
            " beginning with a letter or digit",
        )


@lru_cache(maxsize=_ENVELOPES_REMEMBERED)
def _envelope(
    tenant: str, channel: str, group: str, priority: str, default_region: str | None
) -> _Envelope:
    check_tenant(tenant)
    if len(group) > GROUP_CHARS_MAX:
        raise SubmissionInvalid("group", f"has {len(group)} characters, at most {GROUP_CHARS_MAX}")
    if not group.isprintable():
        raise SubmissionInvalid("group", "holds a character that cannot be printed; remove it")
    if len(priority) > _PRIORITY_CHARS_MAX or priority.strip().lower() not in PRIORITIES:
        raise SubmissionInvalid(
            "priority", f"{priority[:32]!r} is not a priority; one of {', '.join(PRIORITIES)}"
        )
    return _Envelope(
        tenant,
        channel,
        group.strip(),
        priority.strip().lower(),
        canonicalizer(channel, default_region),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmissionPlan:
    """How each field of a submission is made of a record.

    Raises `SubmissionInvalid` when it is made, if a field that is the same for every record, or
    the name of a metadata entry, cannot be accepted.
    """

    recipient: FieldSource
    content: FieldSource
    channel: FieldSource
    tenant: FieldSource
    group: FieldSource
    priority: FieldSource
    expires_at: FieldSource | None = None
    metadata: Mapping[str, FieldSource] = field(default_factory=dict)
    default_region: str | None = None  # of numbers without a country code
    expires_at_max: Instant | None = None
    due_at: FieldSource | None = None
    window: FieldSource | None = None
    time_zone: FieldSource | None = None
    validity_ms_max: DurationMs = Windows().validity_ms_max
    now: Instant | None = None  # None: how far ahead an instant lies is asked elsewhere
    ordering_key: FieldSource | None = None

    def __post_init__(self) -> None:
        # A field that is not constant is judged with each record; here a harmless one stands in.
        _envelope(
            _constant_or(self.tenant, "default"),
            _constant_or(self.channel, "sms"),
            _constant_or(self.group, ""),
            _constant_or(self.priority, "normal"),
            self.default_region,
        )
        check_metadata_keys(self.metadata)
        if self.is_timed:
            self.timing(
                due=_constant_or(self.due_at, ""),
                expires=_constant_or(self.expires_at, ""),
                window=_constant_or(self.window, ""),
                time_zone=_constant_or(self.time_zone, "UTC"),
            )

        check_ordering_key(
            _constant_or(self.ordering_key, ""),
            is_timed=bool(_constant_or(self.due_at, "") or _constant_or(self.window, "")),
        )

    @property
    def is_timed(self) -> bool:
        """Whether anything is said about when messages are to be sent, or until when."""
        return not (self.due_at is self.window is self.expires_at is None)

    def timing(self, *, due: str, expires: str, window: str, time_zone: str) -> Timing:
        """Return what is asked for by these texts; raises `SubmissionInvalid`."""
        timing = parse_timing(
            due=due,
            expires=expires,
            window=window,
            time_zone=time_zone,
            validity_ms_max=self.validity_ms_max,
        )
        if timing.expires_at is not None and timing.due_at is None:
            _check_expires_at(timing.expires_at, self.expires_at_max)
        check_timing(timing, recipient=None, now=self.now)
        return timing


def _constant_or(source: FieldSource | None, otherwise: str) -> str:
    constant = "" if source is None else source.constant
    return otherwise if constant is None else constant


class BuiltBodies(NamedTuple):
    """Bodies of the records that can be accepted, by position, and why the others cannot."""

    positions: Sequence[int]
    bodies: list[Body]
    refused: Mapping[int, SubmissionInvalid]


class _Columns:
    """The rendered fields of some records, and the records that failed in one of them."""

    def __init__(
        self, plan: SubmissionPlan, records: Sequence[Record], numbers: Sequence[int]
    ) -> None:
        self._plan = plan
        self._records = records
        self._numbers = numbers
        self.refused: dict[int, SubmissionInvalid] = {}

    def values(self, name: str, source: FieldSource) -> Sequence[str]:
        rendered = source.render_all(self._records, self._numbers)
        for position, reason in rendered.failed.items():
            self.refused.setdefault(position, SubmissionInvalid(name, reason))
        return rendered.values

    def envelopes(self) -> Iterable[_Envelope | None]:
        """Yield None only for records that are refused."""
        plan = self._plan
        sources = (plan.tenant, plan.channel, plan.group, plan.priority)
        if None not in (source.constant for source in sources):
            # Accepted when the plan was made.
            tenant, channel, group, priority = (source.constant or "" for source in sources)
            return repeat(_envelope(tenant, channel, group, priority, plan.default_region))
        fields = [
            self.values(name, source)
            for name, source in zip(
                ("tenant", "channel", "group", "priority"), sources, strict=True
            )
        ]
        envelopes: list[_Envelope | None] = []
        for position, (tenant, channel, group, priority) in enumerate(zip(*fields, strict=True)):
            envelope = None
            if position not in self.refused:
                try:
                    envelope = _envelope(tenant, channel, group, priority, plan.default_region)
                except SubmissionInvalid as invalid:
                    self.refused[position] = invalid
            envelopes.append(envelope)
        return envelopes

    def timings(self) -> Iterable[Timing]:
        plan = self._plan
        if not plan.is_timed:
            return repeat(NO_TIMING)
        count = len(self._records)
        due, expires, window, zone = (
            [""] * count if source is None else self.values(name, source)
            for name, source in (
                ("due_at", plan.due_at),
                ("expires_at", plan.expires_at),
                ("window", plan.window),
                ("time_zone", plan.time_zone),
            )
        )
        timings: list[Timing] = []
        for n in range(count):
            timing = NO_TIMING
            if n not in self.refused:
                try:
                    timing = plan.timing(
                        due=due[n], expires=expires[n], window=window[n], time_zone=zone[n]
                    )
                except SubmissionInvalid as invalid:
                    self.refused[n] = invalid
            timings.append(timing)
        return timings

    def ordering_keys(self) -> Iterable[str]:
        source = self._plan.ordering_key
        return repeat("") if source is None else self.values("ordering_key", source)

    def metadata(self) -> Iterable[Mapping[str, str]]:
        sources = self._plan.metadata
        if not sources:
            return repeat(_NO_METADATA)
        columns = [self.values(f"metadata {key}", source) for key, source in sources.items()]
        return (dict(zip(sources, values, strict=True)) for values in zip(*columns, strict=True))


def build_bodies(
    plan: SubmissionPlan, records: Sequence[Record], numbers: Sequence[int]
) -> BuiltBodies:
    """Return the bodies of the records; `numbers` are the records' own, for `{#}`.

    Every record is either in `positions` or in `refused`.  The same records give the same bytes.
    """
    columns = _Columns(plan, records, numbers)
    rows = zip(
        columns.values("recipient", plan.recipient),
        columns.values("content", plan.content),
        columns.envelopes(),
        columns.timings(),
        columns.metadata(),
        columns.ordering_keys(),
        strict=False,  # what is the same for every record is repeated without end
    )
    refused = columns.refused
    positions: list[int] = []
    bodies: list[Body] = []
    for position, (recipient, content, envelope, timing, metadata, key) in enumerate(rows):
        if position in refused:
            continue
        assert envelope is not None
        tenant, channel, group, priority, canonicalize = envelope
        try:
            if not 0 < len(content) <= _CONTENT_CHARS_SURE or "\0" in content:
                _check_content(content)
            if metadata:
                check_metadata(metadata, channel)
            recipient = canonicalize(recipient)
            # A tuple encodes to the bytes of the Submission, without making one.
            said = (timing[0], tenant, channel, recipient, content, group, priority, metadata)
            is_brief = timing is NO_TIMING or timing[1:] == _NO_TIMES
            if key:
                check_ordering_key(key, is_timed=_says_when(timing))
                body = encode_fields((*said, *timing[1:], key))
            else:
                body = encode_fields(said if is_brief else said + timing[1:])
        except SubmissionInvalid as invalid:
            refused[position] = invalid
        except UnicodeEncodeError:
            refused[position] = _not_encodable(content, key)
        else:
            positions.append(position)
            bodies.append(Body(body))
    return BuiltBodies(positions, bodies, refused)


def build_submission(plan: SubmissionPlan, record: Record, number: int = 1) -> Submission:
    """Return the submission of one record, or raise `SubmissionInvalid`."""
    built = build_bodies(plan, [record], [number])
    if built.refused:
        raise built.refused[0]
    return decode_body(built.bodies[0])


def validate_body(
    body: bytes, *, expires_at_max: Instant | None = None, now: Instant | None = None
) -> Submission:
    """Return the submission of a body that comes from a door that is not trusted.

    Raises `SubmissionInvalid`, for field `body` if it is not the encoding of a submission at all.
    Keeps the rules of `build_bodies`: what that builds is accepted, and the recipient, priority
    and group must be in the form that it gives them.
    """
    if len(body) > BODY_BYTES_MAX:
        raise SubmissionInvalid("body", f"has {len(body)} bytes, at most {BODY_BYTES_MAX}")
    try:
        submission = decode_body(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SubmissionInvalid("body", f"is not an encoded submission: {error}") from None
    envelope = _envelope(
        submission.tenant, submission.channel, submission.group, submission.priority, None
    )
    if envelope.priority != submission.priority or envelope.group != submission.group:
        raise SubmissionInvalid("body", "priority and group must be in their canonical form")
    if envelope.canonicalize(submission.recipient) != submission.recipient:
        raise SubmissionInvalid("recipient", "must be in its channel's canonical form")
    content = submission.content
    if not 0 < len(content) <= _CONTENT_CHARS_SURE or "\0" in content:
        _check_content(content)
    if submission.metadata:
        check_metadata_keys(submission.metadata)
        check_metadata(submission.metadata, submission.channel)
    if submission.expires_at is not None:
        _check_expires_at(submission.expires_at, None if submission.is_timed else expires_at_max)
    if submission.is_timed or submission.time_zone or submission.validity_ms is not None:
        validate_timing(submission, now=now)
    if submission.ordering_key:
        check_ordering_key(submission.ordering_key, is_timed=submission.is_timed)
    return submission


def _says_when(timing: Timing) -> bool:
    return timing.due_at is not None or timing.delay_ms is not None or timing.window != ""


def _check_content(content: str) -> None:
    if not content:
        raise SubmissionInvalid("content", "is empty")
    if "\0" in content:
        raise SubmissionInvalid("content", "holds a NUL character; remove it")
    if len(content) > CONTENT_BYTES_MAX:
        raise SubmissionInvalid(
            "content", f"has {len(content)} characters, at most {CONTENT_BYTES_MAX} bytes"
        )
    try:
        size = len(content.encode())
    except UnicodeEncodeError:
        raise _not_encodable(content) from None
    if size > CONTENT_BYTES_MAX:
        raise SubmissionInvalid("content", f"has {size} bytes, at most {CONTENT_BYTES_MAX}")


def _check_expires_at(expires_at: int, expires_at_max: Instant | None) -> None:
    if not 0 <= expires_at <= _INSTANT_MAX:
        raise SubmissionInvalid("expires_at", "is not an instant after 1970")
    if expires_at_max is not None and expires_at > expires_at_max:
        raise SubmissionInvalid("expires_at", "lies further ahead than the longest validity")


def _not_encodable(content: str, ordering_key: str = "") -> SubmissionInvalid:
    for name, text in (("content", content), ("ordering_key", ordering_key)):
        try:
            text.encode()
        except UnicodeEncodeError as error:
            return SubmissionInvalid(name, f"{HALF_CHARACTER} (character {error.start + 1})")
    return SubmissionInvalid("metadata", HALF_CHARACTER)
