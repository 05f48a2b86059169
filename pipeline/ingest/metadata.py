"""What a submission may carry beside its content: names and texts, within bounds."""

import re
from collections.abc import Iterable, Mapping
from typing import Final

from pipeline.errors import SubmissionInvalid
from pipeline.ingest.header_text import HEADER_METADATA, has_control_character
from pipeline.limits import METADATA_BYTES_MAX, METADATA_ENTRIES_MAX

HALF_CHARACTER: Final = "holds half of a surrogate pair, which is no character; remove it"
_metadata_key: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}").fullmatch
# A character has at most four bytes, so fewer characters than this need no counting of bytes.
_METADATA_CHARS_SURE: Final = METADATA_BYTES_MAX // 4


def check_metadata_keys(metadata: Iterable[str]) -> None:
    """Refuse names of entries; raises `SubmissionInvalid`."""
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


def check_metadata(metadata: Mapping[str, str], channel: str) -> None:
    """Refuse what entries hold; raises `SubmissionInvalid`."""
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
        raise SubmissionInvalid("metadata", HALF_CHARACTER) from None
    if size > METADATA_BYTES_MAX:
        raise SubmissionInvalid("metadata", f"has {size} bytes, at most {METADATA_BYTES_MAX}")
