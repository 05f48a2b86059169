"""From claimed messages to lines of JSON, and from what was written to outcomes."""

from collections.abc import Sequence
from typing import Final

import msgspec

from pipeline.lifecycle import Event
from pipeline.message import decode_body
from pipeline.outcome import HandOver, Outcomes


class HandOverLine(msgspec.Struct, frozen=True, gc=False):
    """One line of an outbox."""

    message_id: str  # 32 hexadecimal digits
    attempt: int
    tenant: str
    channel: str
    recipient: str
    content: str
    group: str
    metadata: dict[str, str]


_encoder: Final = msgspec.json.Encoder()
decode_line: Final = msgspec.json.Decoder(HandOverLine).decode


def encode_lines(hand_over: HandOver) -> list[bytes]:
    """Return one line for each message, each ended by a newline."""
    encode = _encoder.encode
    lines = []
    for id_, attempt, body in zip(
        hand_over.message_ids, hand_over.attempts, hand_over.bodies, strict=True
    ):
        asked = decode_body(body)
        line = HandOverLine(
            id_.hex(),
            attempt,
            asked.tenant,
            asked.channel,
            asked.recipient,
            asked.content,
            asked.group,
            asked.metadata,
        )
        lines.append(encode(line) + b"\n")
    return lines


def outcomes_of(
    lines: Sequence[bytes], *, written_bytes: int, is_durable: bool, error: str
) -> Outcomes:
    """Return what became of the lines when `written_bytes` of them reached the file.

    A reader may have seen whatever was written, durable or not; what was not written is certainly
    nowhere.
    """
    if is_durable:
        return Outcomes(events=bytes([Event.TAKE]) * len(lines))
    events = bytearray()
    position = 0
    for line in lines:
        events.append(Event.LOSE_ANSWER if position < written_bytes else Event.NOT_SENT)
        position += len(line)
    return Outcomes(events=bytes(events), details=dict.fromkeys(range(len(lines)), error))
