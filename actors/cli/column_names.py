"""Column names that say by themselves which field they hold, and names for columns without one."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from pipeline.errors import InputInvalid
from pipeline.limits import COLUMNS_MAX

# In any case; of several, the first field that a name belongs to.
WELL_KNOWN: Final[Mapping[str, tuple[str, ...]]] = {
    "recipient": (
        *("recipient", "to", "phone", "phone_number", "mobile", "msisdn"),
        *("email", "email_address", "e-mail"),
    ),
    "content": ("content", "text", "body", "message"),
    "channel": ("channel",),
    "group": ("group", "campaign"),
    "priority": ("priority",),
    "tenant": ("tenant",),
    "expires_at": ("expires_at",),
    "due_at": ("due_at", "send_at"),
    "window": ("send_window",),
    "time_zone": ("time_zone",),
    "ordering_key": ("ordering_key",),
}

NUMBER_COLUMNS: Final = frozenset({"phone", "phone_number", "mobile", "msisdn"})
ADDRESS_COLUMNS: Final = frozenset({"email", "email_address", "e-mail"})

_ALL: Final = frozenset(name for names in WELL_KNOWN.values() for name in names)

# A first line with such a value is a record, whatever words stand beside it.
_recipient_like: Final = re.compile(r"\+?[0-9][0-9 ()./-]{5,}|\S+@\S+\.\S+").fullmatch

_NAME_CHARS_MAX: Final = 128


def is_header(row: Sequence[str]) -> bool:
    """Return whether the first row of a table names its columns.

    It does if it holds a well-known name, and nothing that could be a recipient.
    """
    cells = [cell.strip().casefold() for cell in row]
    return not _ALL.isdisjoint(cells) and not any(map(_recipient_like, cells))


def checked_names(names: Sequence[str], *, of_what: str) -> tuple[str, ...]:
    """Return the names of a table's columns, `c3` for a third one without a name.

    Raises `InputInvalid` for doubled ones (in any case) and for too many.
    """
    if len(names) > COLUMNS_MAX:
        raise InputInvalid(f"{of_what}: {len(names)} columns, at most {COLUMNS_MAX} can be read")
    named = tuple(name.strip() or f"c{place}" for place, name in enumerate(names, 1))
    for name in named:
        if len(name) > _NAME_CHARS_MAX:
            raise InputInvalid(
                f"{of_what}: a column's name has {len(name)} characters, at most {_NAME_CHARS_MAX}"
            )
    doubled = [name for name, count in Counter(map(str.casefold, named)).items() if count > 1]
    if doubled:
        raise InputInvalid(
            f"{of_what}: column {doubled[0]!r} occurs more than once; rename one, or name all"
            " columns with --columns"
        )
    return named


def numbered_names(count: int) -> tuple[str, ...]:
    """Return `c1`, `c2` and so on."""
    return tuple(f"c{place}" for place in range(1, count + 1))
