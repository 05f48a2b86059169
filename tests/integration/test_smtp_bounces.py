"""What the provider reports later, read as an operator's mailbox would hold it."""

from pathlib import Path

import pytest

from cluster.egress.simulator.smtp_bounces import BounceWriter
from cluster.egress.smtp_bounce_folder import BounceFolder
from pipeline.connectors.smtp.delivery_report import DeliveryReceipt
from pipeline.lifecycle import Event
from tests.support.mail_office import SENDER, hand_over, message_id, open_office, submitted
from tests.support.until import until

RECEIPTS = '{"receipts": {"url": "", "delay_s": 0.01, "modes": {"%s": 1}, "failed": %d}}'


@pytest.mark.parametrize(
    ("mode", "failed", "events"),
    [
        ("once", 0, [Event.DELIVER]),
        ("once", 1, [Event.REFUSE]),
        ("twice", 0, [Event.DELIVER] * 2),
        ("early", 1, [Event.REFUSE]),
        ("never", 0, []),
    ],
)
async def test_a_report_tells_which_message_came_to_what_end(
    tmp_path: Path, mode: str, failed: int, events: list[Event]
) -> None:
    bounces = BounceWriter(tmp_path / "maildir")
    modes = RECEIPTS % (mode, failed)
    async with open_office(tmp_path, modes=modes, bounces=bounces) as office:
        connector = office.connector()
        await submitted(connector, hand_over(["ann@example.org"]))
        await until(lambda: bounces.written_count >= len(events))
        await connector.close()
    folder = BounceFolder(tmp_path / "maildir", domain=SENDER.domain)
    reports = folder.read(10)
    receipts = [report.said for report in reports]
    assert [type(receipt) for receipt in receipts] == [DeliveryReceipt] * len(events)
    for receipt, event in zip(receipts, events, strict=True):
        assert isinstance(receipt, DeliveryReceipt)
        assert (receipt.message_id, receipt.event) == (message_id(0), event)
        assert receipt.is_address_gone == (event is Event.REFUSE)
    folder.put_aside(reports)
    assert folder.read(10) == []
