"""Reports about mails that were taken, dropped into a folder as a mail server drops mail.

A maildir: a file is written in `tmp/` and moved to `new/`, so that a reader sees whole files.
"""

import asyncio
from pathlib import Path
from typing import Final

from cluster.egress.simulator.modes import Chooser, ReceiptMode

_DELAY_S: Final = 0.05

_REPORT: Final = """\
Return-Path: <>
Delivered-To: {sender}
From: MAILER-DAEMON@simulator.invalid
To: {sender}
Subject: Report about your mail
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="=_report"

--=_report
Content-Type: text/plain

The mail to {recipient}: {action}.

--=_report
Content-Type: message/delivery-status

Reporting-MTA: dns; simulator.invalid
Original-Envelope-Id: {key}

Final-Recipient: rfc822; {recipient}
Action: {action}
Status: {status}
Diagnostic-Code: smtp; {diagnostic}

--=_report--
"""


class BounceWriter:
    """Writes a report when the modes of receipts say so; where there are none, one a mail."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._tasks: set[asyncio.Task[None]] = set()
        self.written_count = 0
        for name in ("tmp", "new", "cur"):
            (folder / name).mkdir(parents=True, exist_ok=True)

    def after_taking(self, chooser: Chooser, *, key: str, sender: str, recipient: str) -> None:
        """Write the mail's report now if it is to be early, else see to it later."""
        receipts = chooser.behaviour.receipts
        mode, is_delivered = chooser.receipt(key=key)
        if receipts is None:
            mode = ReceiptMode.ONCE
        action, status, diagnostic = (
            ("delivered", "2.0.0", "250 2.0.0 delivered")
            if is_delivered
            else ("failed", "5.1.1", "550 5.1.1 no such mailbox")
        )
        report = _REPORT.format(
            key=key,
            sender=sender,
            recipient=recipient,
            action=action,
            status=status,
            diagnostic=diagnostic,
        )
        match mode:
            case ReceiptMode.NEVER:
                return
            case ReceiptMode.EARLY:
                self._write(key, report)
            case ReceiptMode.ONCE | ReceiptMode.TWICE:
                delay_s = _DELAY_S if receipts is None else receipts.delay_s
                for _ in range(2 if mode is ReceiptMode.TWICE else 1):
                    task = asyncio.create_task(self._write_later(key, report, delay_s))
                    self._tasks.add(task)
                    task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Drop what is still to be written."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _write_later(self, key: str, report: str, delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        self._write(key, report)

    def _write(self, key: str, report: str) -> None:
        self.written_count += 1
        name = f"{key}.{self.written_count}.simulator"
        (self._folder / "tmp" / name).write_text(report, encoding="utf-8")
        (self._folder / "tmp" / name).rename(self._folder / "new" / name)
