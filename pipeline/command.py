"""What may be asked of a message, or of a group, after it was accepted (docs/protocol.md, 5.5).

A command is a row of its lane, read before the buffer.  The lane's owner is the only judge: it
answers with one result a command and lane, journaled in the entry that carries out the command.
A message that is claimed answers "too late".
"""

from enum import IntFlag, StrEnum
from typing import Final

import msgspec

from pipeline.errors import ShardpostError


class CommandKind(StrEnum):
    """What is asked."""

    CANCEL = "cancel"  # never hand it over
    EDIT = "edit"  # another body, another time, or both
    EXPEDITE = "expedite"  # do not wait for its time
    PAUSE = "pause"  # do not hand it over until it is resumed
    RESUME = "resume"
    RESOLVE = "resolve"  # of one that is uncertain: what became of it; audited
    RESEND = "resend"  # of one that is uncertain or failed: hand it over once more; audited
    # Not asked by people.
    RECEIPT = "receipt"  # what its provider says of it
    TESTIMONY = "testimony"  # what a deposed owner knows of a claim of its own


class Verdict(StrEnum):
    """What a lane answers."""

    DONE = "done"
    TOO_LATE = "too_late"  # it is claimed: nobody can call it back
    REFUSED = "refused"  # its state does not allow it; the detail names the state


GROUP_KINDS: Final = frozenset(
    {CommandKind.CANCEL, CommandKind.EXPEDITE, CommandKind.PAUSE, CommandKind.RESUME}
)
"""What can be asked of a whole group."""


class Kept(IntFlag):
    """What an edit leaves as it is, whatever that is when it is judged."""

    CONTENT = 1
    TIMES = 2  # what the body says of them
    DUE = 4  # when it is handed over as things stand: also that it is paused


class CommandUnreadable(ShardpostError):
    """A newer release, or a stranger, wrote the command."""


class CommandBody(msgspec.Struct, array_like=True, frozen=True, gc=False, kw_only=True):
    """The payload of a command.  New fields are added at the end, with a default."""

    born: int = 0  # of the message, as the row in `messages` says
    group: str = ""  # the message's group key, as that row says
    body: bytes = b""  # edit: the whole body from now on; empty: as it is
    due_at: int | None = None  # edit, pause, resume: an Instant, not before; None: at once
    event: int = 0  # resolve, receipt, testimony: an Event
    step: int = 0  # testimony: the claim that it speaks of
    detail: str = ""  # why, in the words of whoever asks
    keeps: int = 0  # edit: of Kept; `body` and `due_at` have it as its author saw it


encode_command = msgspec.msgpack.Encoder().encode
"""CommandBody -> payload."""

_decoder: Final = msgspec.msgpack.Decoder(CommandBody)


def decode_command(payload: bytes) -> CommandBody:
    """Return the body of a payload.  Raises `CommandUnreadable`."""
    try:
        return _decoder.decode(payload)
    except msgspec.DecodeError as error:
        raise CommandUnreadable(f"a command cannot be read: {error}") from error
