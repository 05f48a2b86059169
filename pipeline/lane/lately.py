"""What people asked lately of messages that wait: an edit is judged on top of it.

Whoever edits a message has looked at it before, and writes down the whole message as it is to be.
What was done between the look and the edit's turn, by somebody else or by themselves while no
platform ran, they have not seen: other words, another time, a pause.  So an edit says what it
keeps, and what it keeps is taken from here.

It is remembered of some messages, by the owner that ruled on them, and for as long as it is the
newest thing that happened to the message.  Without it an edit keeps what its author saw.
"""

from typing import Final, NamedTuple

from msgspec.structs import replace

from pipeline.command import CommandBody, CommandKind, Kept
from pipeline.instant import DurationMs, Instant
from pipeline.lane.group_scan import end_of
from pipeline.lane.ruling import Ruling
from pipeline.lifecycle import Event, Step
from pipeline.message import Body, MessageId, decode_body, encode_body

_MESSAGES_MAX: Final = 256
_BODY_BYTES_MAX: Final = 8_192


class _Known(NamedTuple):
    step: Step
    due_at: Instant
    is_paused: bool
    body: Body | None  # since it was edited


class Lately:
    """What one owner remembers."""

    def __init__(self, *, validity_ms_max: DurationMs) -> None:
        self._validity_ms_max = validity_ms_max
        self._known: dict[MessageId, _Known] = {}  # the newest last

    def on_top(self, id_: MessageId, step: Step | None, asked: CommandBody) -> CommandBody:
        """Return what an edit comes to, of a message with this largest step."""
        known = self._known.get(id_)
        if known is None or not asked.keeps:
            return asked
        body = Body(asked.body)
        if known.body is not None:
            mine, other = decode_body(body), decode_body(known.body)
            if asked.keeps & Kept.TIMES:
                body = Body(encode_body(replace(other, content=mine.content)))
            elif asked.keeps & Kept.CONTENT:
                body = Body(encode_body(replace(mine, content=other.content)))
        due_at = asked.due_at
        # Since another attempt was made, its provider may have asked for a pause.
        if asked.keeps & Kept.DUE and known.step == step:
            due_at = known.due_at
            if known.is_paused:
                due_at = end_of(Instant(asked.born), body, self._validity_ms_max)
        return replace(asked, body=body, due_at=due_at)

    def on_command(self, kind: CommandKind, ruling: Ruling) -> None:
        """Note what becomes of a message by a command to it."""
        known = self._known.pop(ruling.id, None)
        if ruling.event is not Event.DEFER:
            return
        is_paused = kind is CommandKind.PAUSE
        body = known.body if known is not None else None
        if kind is CommandKind.EDIT and ruling.body is not None:
            body = ruling.body if len(ruling.body) <= _BODY_BYTES_MAX else None
            is_paused = ruling.due_at >= end_of(ruling.born, ruling.body, self._validity_ms_max)
        if len(self._known) >= _MESSAGES_MAX:
            del self._known[next(iter(self._known))]
        self._known[ruling.id] = _Known(ruling.step, ruling.due_at, is_paused, body)
