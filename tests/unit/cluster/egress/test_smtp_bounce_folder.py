"""A mailbox of reports: each is read until somebody recorded it."""

from pathlib import Path
from typing import Any

import pytest

from cluster.egress.smtp_bounce_folder import BounceFolder
from pipeline.connectors.smtp.delivery_report import REPORT_BYTES_MAX, DeliveryReceipt, NotOurs
from pipeline.lifecycle import Event

KEY = "0123456789abcdef" * 2
REPORT = f"""\
To: bounce+{KEY}@acme.example
Content-Type: multipart/report; boundary="b"

--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example

Action: failed
Status: 5.1.1
--b--
"""


@pytest.fixture
def maildir(tmp_path: Path) -> Path:
    for name in ("new", "cur", "tmp"):
        (tmp_path / name).mkdir()
    return tmp_path


def test_a_report_is_read_until_it_is_put_aside(maildir: Path) -> None:
    (maildir / "new" / "1.host").write_text(REPORT)
    folder = BounceFolder(maildir, domain="acme.example")
    for _ in range(2):
        (report,) = folder.read(10)
        assert isinstance(report.said, DeliveryReceipt)
        assert (report.said.message_id.hex(), report.said.event) == (KEY, Event.REFUSE)
    folder.put_aside([report])
    folder.put_aside([report])
    assert folder.read(10) == []
    assert [file.name for file in (maildir / "cur").iterdir()] == ["1.host:2,S"]


def test_what_is_about_nothing_of_ours_is_told_as_well(maildir: Path) -> None:
    (maildir / "new" / "1").write_text("Subject: holiday\n\nBack soon")
    (report,) = BounceFolder(maildir, domain="acme.example").read(10)
    assert isinstance(report.said, NotOurs)


@pytest.mark.parametrize(
    "raw", [REPORT.replace("delivery-status", "x").encode(), b"x" * (REPORT_BYTES_MAX + 1)]
)
def test_what_cannot_be_read_is_kept_for_a_person(maildir: Path, raw: bytes) -> None:
    (maildir / "new" / "1").write_bytes(raw)
    (maildir / "new" / "2").write_text(REPORT)
    folder = BounceFolder(maildir, domain="acme.example")
    assert [report.name for report in folder.read(10)] == ["2"]
    assert (maildir / "unreadable" / "1").read_bytes() == raw


@pytest.mark.parametrize("error", [PermissionError, FileNotFoundError])
def test_one_that_nobody_may_read_or_that_went_away_keeps_no_other_waiting(
    maildir: Path, monkeypatch: pytest.MonkeyPatch, error: type[OSError]
) -> None:
    for name in ("1", "2", "3"):
        (maildir / "new" / name).write_text(REPORT)

    def opened(path: str, mode: str) -> Any:
        if path.endswith("2"):
            raise error(path)
        return open(path, mode)

    monkeypatch.setattr("cluster.egress.smtp_bounce_folder.open", opened, raising=False)
    folder = BounceFolder(maildir, domain="acme.example")
    assert sorted(report.name for report in folder.read(10)) == ["1", "3"]
    assert (maildir / "unreadable" / "2").exists() == (error is PermissionError)


def test_no_more_are_read_than_asked_for(maildir: Path) -> None:
    for number in range(5):
        (maildir / "new" / str(number)).write_text(REPORT)
    folder = BounceFolder(maildir, domain="acme.example")
    seen = 0
    while reports := folder.read(2):
        assert len(reports) <= 2
        seen += len(reports)
        folder.put_aside(reports)
    assert seen == 5


def test_a_folder_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    assert BounceFolder(tmp_path / "missing", domain="acme.example").read(10) == []
