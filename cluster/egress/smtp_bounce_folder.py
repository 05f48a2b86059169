"""Reports about mail, from a maildir that a mail server delivers bounces to.

A file in `new/` is a whole mail.  It is moved to `cur/` by who recorded what it says, and only
then; so a report is read again after a crash, and recording one twice is harmless.  One that cannot
be read is moved away as well, to `unreadable/`, for a person to look at.
"""

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from pipeline.connectors.smtp.delivery_report import (
    REPORT_BYTES_MAX,
    DeliveryReceipt,
    NotOurs,
    ReportUnreadable,
    SuppressionHint,
    parse_report,
)

_NEW: Final = "new"
_READ: Final = "cur"
_UNREADABLE: Final = "unreadable"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportFile:
    """One mail of the folder, and what it says."""

    name: str
    said: DeliveryReceipt | SuppressionHint | NotOurs


class BounceFolder:
    """A maildir; `domain` is that of the bounce addresses.  Its calls block for a disk's time."""

    def __init__(self, folder: Path, *, domain: str) -> None:
        self._folder = folder
        self._domain = domain

    def read(self, limit: int) -> list[ReportFile]:
        """Return up to `limit` reports that were not put aside; none if there is no folder.

        Raises OSError if the folder cannot be used.
        """
        reports: list[ReportFile] = []
        try:
            entries = os.scandir(self._folder / _NEW)
        except FileNotFoundError:
            return reports
        with entries:
            for entry in islice((entry for entry in entries if entry.is_file()), limit):
                try:
                    with open(entry.path, "rb") as file:
                        raw = file.read(REPORT_BYTES_MAX + 1)
                    said = parse_report(raw, domain=self._domain)
                except FileNotFoundError:
                    continue  # whoever keeps the folder took it away
                except (ReportUnreadable, PermissionError):
                    # One that nobody may read must not keep all others waiting.
                    self._move(entry.name, _UNREADABLE)
                    continue
                reports.append(ReportFile(name=entry.name, said=said))
        return reports

    def put_aside(self, reports: Sequence[ReportFile]) -> None:
        """Move reports whose content is recorded durably; doing so twice is harmless."""
        for report in reports:
            # What stands behind the colon are a maildir's flags: seen.
            self._move(report.name, _READ, flags=":2,S")

    def _move(self, name: str, folder: str, flags: str = "") -> None:
        (self._folder / folder).mkdir(mode=0o700, exist_ok=True)
        plain = name.partition(":")[0]
        try:
            (self._folder / _NEW / name).rename(self._folder / folder / f"{plain}{flags}")
        except FileNotFoundError:
            return


class BounceMailbox:
    """The same for an event loop: a thread waits for the disk."""

    def __init__(self, folder: BounceFolder) -> None:
        self._folder = folder

    async def read(self, limit: int) -> list[ReportFile]:
        """See `BounceFolder.read`."""
        return await asyncio.to_thread(self._folder.read, limit)

    async def put_aside(self, reports: Sequence[ReportFile]) -> None:
        """See `BounceFolder.put_aside`."""
        await asyncio.to_thread(self._folder.put_aside, reports)
