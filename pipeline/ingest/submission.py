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
from pipeline.ingest.expiry import parse_expires_at
from pipeline.ingest.header_text import HEADER_METADATA, has_control_character
from pipeline.ingest.recipient import Canonicalize, canonicalizer
from pipeline.ingest.template import Record, Rendered
from pipeline.instant import Instant
from pipeline.limits import (
    BODY_BYTES_MAX,
    CONTENT_BYTES_MAX,
    GROUP_CHARS_MAX,
    METADATA_BYTES_MAX,
    METADATA_ENTRIES_MAX,
    TENANT_CHARS_MAX,
)
from pipeline.message import PRIORITIES, Body, Submission, decode_body, encode_body

_tenant: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*").fullmatch
_metadata_key: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}").fullmatch
_PRIORITY_CHARS_MAX: Final = 16
_ENVELOPES_REMEMBERED: Final = 4_096
_INSTANT_MAX: Final = 2**63 - 1

_NO_METADATA: Final[Mapping[str, str]] = {}
_HALF_CHARACTER: Final = "holds half of a surrogate pair, which is no character; remove it"

# `build_bodies` writes the fields of a body itself.
assert Submission.__struct_encode_fields__ == (
    *("expires_at", "tenant", "channel", "recipient", "content", "group", "priority", "metadata"),
)

# A character has at most four bytes, so fewer characters than these need no counting of bytes.
_CONTENT_CHARS_SURE: Final = CONTENT_BYTES_MAX // 4
_METADATA_CHARS_SURE: Final = METADATA_BYTES_MAX // 4


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


@lru_cache(maxsize=_ENVELOPES_REMEMBERED)
def _envelope(
    tenant: str, channel: str, group: str, priority: str, default_region: str | None
) -> _Envelope:
    if not 0 < len(tenant) <= TENANT_CHARS_MAX or not _tenant(tenant):
        raise SubmissionInvalid(
            "tenant",
            f"1 to {TENANT_CHARS_MAX} letters, digits, dots, dashes and underscores,"
            " beginning with a letter or digit",
        )
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

    def __post_init__(self) -> None:
        # A field that is not constant is judged with each record; here a harmless one stands in.
        _envelope(
            _constant_or(self.tenant, "default"),
            _constant_or(self.channel, "sms"),
            _constant_or(self.group, ""),
            _constant_or(self.priority, "normal"),
            self.default_region,
        )
        _check_metadata_keys(self.metadata)


def _constant_or(source: FieldSource, otherwise: str) -> str:
    constant = source.constant
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

    def expiries(self) -> Iterable[Instant | None]:
        if self._plan.expires_at is None:
            return repeat(None)
        expiries: list[Instant | None] = []
        for position, text in enumerate(self.values("expires_at", self._plan.expires_at)):
            expires_at = None
            # A default of nothing, as in {expires_at|}, leaves the longest validity.
            if text.strip():
                try:
                    expires_at = parse_expires_at(text)
                    _check_expires_at(expires_at, self._plan.expires_at_max)
                except SubmissionInvalid as invalid:
                    self.refused.setdefault(position, invalid)
            expiries.append(expires_at)
        return expiries

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
        columns.expiries(),
        columns.metadata(),
        strict=False,  # what is the same for every record is repeated without end
    )
    refused = columns.refused
    positions: list[int] = []
    bodies: list[Body] = []
    for position, (recipient, content, envelope, expires_at, metadata) in enumerate(rows):
        if position in refused:
            continue
        assert envelope is not None
        tenant, channel, group, priority, canonicalize = envelope
        try:
            if not 0 < len(content) <= _CONTENT_CHARS_SURE or "\0" in content:
                _check_content(content)
            if metadata:
                _check_metadata(metadata, channel)
            recipient = canonicalize(recipient)
            # A tuple encodes to the bytes of the Submission, without making one.
            fields = (expires_at, tenant, channel, recipient, content, group, priority, metadata)
            body = encode_body(fields)
        except SubmissionInvalid as invalid:
            refused[position] = invalid
        except UnicodeEncodeError:
            refused[position] = _not_encodable(content)
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


def validate_body(body: bytes, *, expires_at_max: Instant | None = None) -> Submission:
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
        _check_metadata_keys(submission.metadata)
        _check_metadata(submission.metadata, submission.channel)
    if submission.expires_at is not None:
        _check_expires_at(submission.expires_at, expires_at_max)
    return submission


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


def _check_metadata_keys(metadata: Iterable[str]) -> None:
    keys = list(metadata)
    if len(keys) > METADATA_ENTRIES_MAX:
        raise SubmissionInvalid(
            "metadata", f"has {len(keys)} entries, at most {METADATA_ENTRIES_MAX}"
        )
    for key in keys:
        if not _metadata_key(key):
            raise SubmissionInvalid(
                "metadata",
                f"{key[:64]!r} cannot be a name; 1 to 64 letters, digits, dots, dashes and"
                " underscores",
            )


def _check_metadata(metadata: Mapping[str, str], channel: str) -> None:
    text = "".join((*metadata, *metadata.values()))
    if "\0" in text:
        raise SubmissionInvalid("metadata", "holds a NUL character; remove it")
    for name in HEADER_METADATA.get(channel, ()):
        if has_control_character(metadata.get(name, "")):
            raise SubmissionInvalid(
                "metadata", f"{name} holds a line break or another control character; remove it"
            )
    if len(text) <= _METADATA_CHARS_SURE:
        return
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise SubmissionInvalid("metadata", _HALF_CHARACTER) from None
    if size > METADATA_BYTES_MAX:
        raise SubmissionInvalid("metadata", f"has {size} bytes, at most {METADATA_BYTES_MAX}")


def _check_expires_at(expires_at: int, expires_at_max: Instant | None) -> None:
    if not 0 <= expires_at <= _INSTANT_MAX:
        raise SubmissionInvalid("expires_at", "is not an instant after 1970")
    if expires_at_max is not None and expires_at > expires_at_max:
        raise SubmissionInvalid("expires_at", "lies further ahead than the longest validity")


def _not_encodable(content: str) -> SubmissionInvalid:
    try:
        content.encode()
    except UnicodeEncodeError as error:
        return SubmissionInvalid("content", f"{_HALF_CHARACTER} (character {error.start + 1})")
    return SubmissionInvalid("metadata", _HALF_CHARACTER)
