"""What is asked for, and what is ours: submissions, ids, and the rows that stand for messages.

A `Submission` is what was asked for.  Its encoded form is, byte for byte, the body that is stored
and later read by a connector: it is encoded once, at the door.  Only one that says when it is to be
sent is encoded again, when it is accepted and its time is known.  Rows travel as
plain tuples, thousands at a time; the aliases below say what stands where.
"""

from typing import Final, NewType

import msgspec

from pipeline.instant import Instant

MessageId = NewType("MessageId", bytes)  # 16 bytes
PartitionKey = NewType("PartitionKey", bytes)  # 16 bytes
Body = NewType("Body", bytes)  # an encoded Submission

Channel = NewType("Channel", str)

PRIORITIES: Final = ("urgent", "normal", "bulk")


class Submission(msgspec.Struct, array_like=True, frozen=True, gc=False, kw_only=True):
    """One message as it was asked for.  New fields are added at the end, with a default."""

    # First, so that a lane can read it without building the rest (`expiry_of`).
    expires_at: int | None = None  # an Instant; None: born + the longest validity
    tenant: str
    channel: str
    recipient: str  # in the channel's canonical form: E.164, a normalised address
    content: str
    group: str = ""
    priority: str = "normal"  # one of PRIORITIES
    metadata: dict[str, str] = {}

    # When it is to be sent.  A body that says nothing of it ends here (`encode_body`).
    due_at: int | None = None  # an Instant: not before; None: at once, or after `delay_ms`
    window: str = ""  # the canonical text of a send window; "": at any time
    time_zone: str = ""  # of the window; "": that of the recipient's number, or the default
    # Spans, which become instants when the message is accepted; a stored body has none.
    delay_ms: int | None = None  # from born on
    validity_ms: int | None = None  # from when it is due on

    ordering_key: str = ""  # those of a tenant that share one are handed over in their order

    @property
    def is_timed(self) -> bool:
        """Whether something is said about when it is to be sent."""
        return self.due_at is not None or self.delay_ms is not None or self.window != ""


class _Head(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The first field of an encoded Submission; the others are skipped, not built."""

    expires_at: int | None


class _Address(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The fields of an encoded Submission that say who it is from and for."""

    expires_at: int | None
    tenant: str
    channel: str
    recipient: str


class _Hours(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The fields of an encoded Submission that say when it may go out; the others are not built."""

    expires_at: int | None
    tenant: msgspec.Raw
    channel: msgspec.Raw
    recipient: str
    content: msgspec.Raw
    group: msgspec.Raw
    priority: msgspec.Raw
    metadata: msgspec.Raw
    due_at: int | None = None
    window: str = ""
    time_zone: str = ""


# How a body begins that has no field behind `metadata`: as an array of eight.
BODY_WITHOUT_TIMES: Final = 0x98
_WITHOUT_TIMES_OR_END: Final = bytes([BODY_WITHOUT_TIMES, 0xC0])

_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(Submission)

encode_fields = _encoder.encode
"""A tuple of a Submission's fields, the last ones left out if they have their defaults -> Body."""


def encode_body(submission: Submission) -> bytes:
    """Return the body of a submission.

    Fields that came later are there only if one of them is said: the others have the bytes, and so
    the hash under their key, that they always had.
    """
    fields = (
        submission.expires_at,
        submission.tenant,
        submission.channel,
        submission.recipient,
        submission.content,
        submission.group,
        submission.priority,
        submission.metadata,
    )
    if submission.ordering_key:
        return _encoder.encode(submission)
    if not (submission.is_timed or submission.time_zone or submission.validity_ms is not None):
        return _encoder.encode(fields)
    return _encoder.encode(
        (
            *fields,
            submission.due_at,
            submission.window,
            submission.time_zone,
            submission.delay_ms,
            submission.validity_ms,
        )
    )


decode_body = _decoder.decode
"""Body -> Submission; raises msgspec.DecodeError or msgspec.ValidationError on other bytes."""

_head_decoder: Final = msgspec.msgpack.Decoder(_Head)


def expiry_of(body: Body) -> Instant | None:
    """Return when the submission of a body expires, None if it does not say so."""
    if body[:2] == _WITHOUT_TIMES_OR_END:
        return None
    expires_at = _head_decoder.decode(body).expires_at
    return None if expires_at is None else Instant(expires_at)


_address_decoder: Final = msgspec.msgpack.Decoder(_Address)


def addressee_of(body: Body) -> tuple[str, str, str]:
    """Return the tenant, the channel and the recipient of a body's submission."""
    address = _address_decoder.decode(body)
    return address.tenant, address.channel, address.recipient


_hours_decoder: Final = msgspec.msgpack.Decoder(_Hours)


def hours_of(body: Body) -> tuple[str, str, str] | None:
    """Return a body's send window, its time zone and recipient, None if it has no window."""
    if body[0] == BODY_WITHOUT_TIMES:
        return None
    hours = _hours_decoder.decode(body)
    return (hours.window, hours.time_zone, hours.recipient) if hours.window else None


def is_scheduled(body: Body) -> bool:
    """Return whether a stored body says from when on it is due; it says until when, too."""
    return decode_body(body).due_at is not None


# (id, pk, born, group, body): a row of `messages`.  group is `group_key(tenant, group)`.
MessageRow = tuple[MessageId, PartitionKey, Instant, str, Body]

# (id, pk, born, attempt, due_at, group): a row for `buffer`, before the store gives it its `at`.
# due_at: an instant of the near future, 0 for at once.
BufferEntry = tuple[MessageId, PartitionKey, Instant, int, Instant, str]

# (at, id, pk, born, attempt, due_at, group): a row of `buffer` as it is read.
BufferRow = tuple[Instant, MessageId, PartitionKey, Instant, int, Instant, str]

AT_ONCE: Final = Instant(0)

# (due_at, id, pk, born, attempt, group): a row of `timers`.
TimerRow = tuple[Instant, MessageId, PartitionKey, Instant, int, str]

# (id, pk, step, at, detail): a row of `timeline`; detail: connector, reference or reason.
TimelineRow = tuple[MessageId, PartitionKey, int, Instant, str]


def is_ordered(pk: bytes, message_id: bytes) -> bool:
    """Return whether a message has an ordering key: its partition key is not its id."""
    return pk != message_id


def group_key(tenant: str, group: str) -> str:
    """Return the name that stands for a tenant's group in rows and books.

    The tenant comes first and cannot hold a slash, so two tenants' groups never meet.
    """
    return f"{tenant}/{group}"


def tenant_of(group_key: str) -> str:
    """Return the tenant of a group key."""
    return group_key.partition("/")[0]
