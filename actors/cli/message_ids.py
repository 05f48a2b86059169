"""Ids of messages as people write them: 32 hexadecimal digits, perhaps with dashes, perhaps cut."""

import re
from typing import Final

import typer

from actors.cli.inspection import Inspection
from actors.cli.not_found import NothingFound
from pipeline.errors import InputInvalid
from pipeline.limits import ID_PREFIX_DIGITS_MIN
from pipeline.message import MessageId

_DIGITS: Final = 32
_DIGITS_AND_DASHES: Final = re.compile(r"[0-9a-f]+")


def parse_digits(text: str) -> str:
    """Return the digits of an id, or of its beginning; raises `typer.BadParameter`."""
    digits = text.strip().lower().replace("-", "")
    if not _DIGITS_AND_DASHES.fullmatch(digits):
        raise typer.BadParameter("an id is made of hexadecimal digits")
    if not ID_PREFIX_DIGITS_MIN <= len(digits) <= _DIGITS:
        raise typer.BadParameter(
            f"an id has {_DIGITS} digits; give them all, or the first {ID_PREFIX_DIGITS_MIN}"
            " or more"
        )
    return digits


async def find_id(store: Inspection, digits: str) -> MessageId:
    """Return the id that is, or begins with, these digits.

    Raises `NothingFound`, and `InputInvalid` if several begin so.
    """
    if len(digits) == _DIGITS:
        return MessageId(bytes.fromhex(digits))
    found = await store.ids_beginning(digits, limit=2)
    if len(found) > 1:
        raise InputInvalid(f"several messages begin with {digits}: give more of its digits")
    if not found:
        raise unknown_id(digits)
    return found[0]


def unknown_id(digits: str) -> NothingFound:
    """Return what is raised for an id that nobody knows."""
    return NothingFound(f"no message {digits}: it was not accepted, or is past its time to live")
