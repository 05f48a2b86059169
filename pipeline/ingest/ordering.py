"""What an ordering key may be, and what cannot be asked for together with one."""

from typing import Final

from pipeline.errors import SubmissionInvalid
from pipeline.limits import ORDERING_KEY_BYTES_MAX

# A character has at most four bytes, so fewer characters than this need no counting of bytes.
_CHARS_SURE: Final = ORDERING_KEY_BYTES_MAX // 4


def check_ordering_key(key: str, *, is_timed: bool) -> None:
    """Refuse a key, or its message; raises `SubmissionInvalid`, or UnicodeEncodeError.

    `is_timed`: something is said about when the message is to be sent.  In order and at a time
    contradict each other: what is due later would hold up what comes behind it, or be overtaken.
    """
    if not key:
        return
    if is_timed:
        raise SubmissionInvalid(
            "ordering_key",
            "a message with an ordering key is sent when its turn comes; leave out when it is to"
            " be sent, or the key",
        )
    if "\0" in key:
        raise SubmissionInvalid("ordering_key", "holds a NUL character; remove it")
    if len(key) > _CHARS_SURE and (size := len(key.encode())) > ORDERING_KEY_BYTES_MAX:
        raise SubmissionInvalid(
            "ordering_key", f"has {size} bytes, at most {ORDERING_KEY_BYTES_MAX}"
        )
