"""When a connection to a mail server is encrypted, and where such servers listen."""

from enum import StrEnum
from typing import assert_never


class TlsMode(StrEnum):
    """There is no falling back from one to another."""

    STARTTLS = "starttls"  # after the first words, or there is no mail
    IMPLICIT = "implicit"  # from the first byte
    NONE = "none"

    @property
    def usual_port(self) -> int:
        """Return where servers listen that do it so."""
        match self:
            case TlsMode.STARTTLS:
                return 587
            case TlsMode.IMPLICIT:
                return 465
            case TlsMode.NONE:
                return 25
            case _:
                assert_never(self)
