"""Text that some provider will write into a header or a command: one line, and nothing unseen.

A line break there begins another header or another command of our caller's choice, and a NUL ends
the text for some readers and not for others; libraries differ in which of these they let through.
So they are refused when a message is accepted, and once more by the codec that writes them.
"""

import re
from typing import Final

# C0, DEL, C1, the separators of lines and paragraphs, and halves of surrogate pairs.
_not_in_a_line: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]").search

# What channels make headers of, by the name of the metadata entry.
HEADER_METADATA: Final = {"email": ("subject",)}


def has_control_character(text: str) -> bool:
    """Return whether a character of the text cannot stand in one line of a protocol."""
    return _not_in_a_line(text) is not None
