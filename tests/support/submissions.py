"""Submissions and chunks with harmless defaults."""

from collections.abc import Sequence

from pipeline.ingest.chunk import SubmitChunk
from pipeline.message import Body, Submission, decode_body, encode_body


def make_submission(
    content: str = "hello",
    *,
    tenant: str = "acme",
    channel: str = "sms",
    recipient: str = "+447700900000",
    group: str = "spring",
    priority: str = "bulk",
    expires_at: int | None = None,
    due_at: int | None = None,
    delay_ms: int | None = None,
    window: str = "",
    ordering_key: str = "",
) -> Submission:
    return Submission(
        tenant=tenant,
        channel=channel,
        recipient=recipient,
        content=content,
        group=group,
        priority=priority,
        expires_at=expires_at,
        due_at=due_at,
        delay_ms=delay_ms,
        window=window,
        ordering_key=ordering_key,
    )


def bodies_of(submissions: Sequence[Submission]) -> list[Body]:
    return [Body(encode_body(submission)) for submission in submissions]


def some_bodies(count: int, *, content: str = "hello", tenant: str = "acme") -> list[Body]:
    return bodies_of([make_submission(f"{content} {n}", tenant=tenant) for n in range(count)])


def make_chunk(
    bodies: Sequence[bytes] | None = None,
    *,
    tenant: str = "acme",
    batch_key: bytes | None = b"a file",
    first_index: int = 0,
    positions: Sequence[int] | None = None,
    keys: Sequence[bytes] | None = None,
) -> SubmitChunk:
    """Return a chunk; of a batch, unless it has keys or `batch_key` is None."""
    bodies = some_bodies(2) if bodies is None else bodies
    if keys is not None:
        batch_key = None
    if positions is None:
        positions = range(len(bodies)) if batch_key is not None else []
    return SubmitChunk(
        tenant=tenant,
        batch_key=batch_key,
        first_index=first_index,
        positions=list(positions),
        keys=None if keys is None else list(keys),
        bodies=list(bodies),
    )


def submissions_of(chunk: SubmitChunk) -> list[Submission]:
    return [decode_body(body) for body in chunk.bodies]
