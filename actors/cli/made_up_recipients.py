"""Recipients for files that name none, in demonstrations: numbers that are nobody's."""

from collections.abc import Sequence
from typing import Final

from pipeline.ingest.template import Record, Rendered

# Ofcom keeps +44 7700 900000 to 900999 free for fiction.
_NUMBERS: Final = tuple(f"+447700900{last:03}" for last in range(1_000))


class MadeUpRecipients:
    """Gives the records of a file one number after another, and begins again after a thousand."""

    constant: str | None = None

    def render_all(self, records: Sequence[Record], numbers: Sequence[int]) -> Rendered:
        """Return a number for each record, the same one whenever the file is read."""
        return Rendered([_NUMBERS[(number - 1) % len(_NUMBERS)] for number in numbers], {})

    def describe(self) -> str:
        """Return what a person must be told about these recipients."""
        return (
            f"made up: {_NUMBERS[0]} to {_NUMBERS[-1]}, which are kept for fiction and reach nobody"
        )
