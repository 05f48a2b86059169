"""The statements of `statements.cql`, read once.

Each begins with its name in a comment, and says to which partition it goes, whether it may be
repeated, and how it is sent: those lines are part of the file's form, not decoration.
"""

import re
from functools import cache
from importlib.resources import files
from typing import Final, NamedTuple

from cluster.scylla.error_map import Sends

_BLOCK: Final = re.compile(
    r"""
    --\ (?P<name>[a-z_]+)\n
    --\ partition:\ (?P<partition>.+)\n
    --\ repeat:\ (?P<repeat>.+)\n
    --\ sends:\ (?P<sends>.+)\n
    (?P<cql>[^;]+);\n
    """,
    re.VERBOSE,
)


class Statement(NamedTuple):
    """One statement, and what is promised of it."""

    name: str
    partition: str
    repeat: str
    sends: Sends
    cql: str


class StatementsBroken(ValueError):
    """The file of statements must be mended."""


@cache
def statements() -> dict[str, Statement]:
    """Return every statement by its name."""
    return parse(files("cluster.scylla").joinpath("statements.cql").read_text(encoding="utf-8"))


def parse(text: str) -> dict[str, Statement]:
    """Return the statements of a text; raises `StatementsBroken` if anything in it is not one."""
    found: dict[str, Statement] = {}
    place = 0
    for match in _BLOCK.finditer(text):
        _refuse_rest(text[place : match.start()])
        place = match.end()
        name = match["name"]
        if name in found:
            raise StatementsBroken(f"there are two statements {name}")
        try:
            sends = Sends(match["sends"])
        except ValueError:
            raise StatementsBroken(f"{name} sends nothing that is known") from None
        cql = " ".join(match["cql"].split())
        found[name] = Statement(name, match["partition"], match["repeat"], sends, cql)
    _refuse_rest(text[place:])
    return found


def _refuse_rest(text: str) -> None:
    # Headings between statements begin with `--- `.
    lines = [line for line in text.splitlines() if line and not line.startswith("---")]
    if lines:
        raise StatementsBroken(f"not a statement: {lines[0]!r}")
