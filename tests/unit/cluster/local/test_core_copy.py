"""A file that was filled from elsewhere reads as one of a platform."""

from pathlib import Path

import pytest

from cluster.local.core_copy import CoreCopy
from cluster.local.core_snapshot import open_snapshot
from pipeline.instant import Instant
from pipeline.message import AT_ONCE, Body, BufferRow, MessageId, PartitionKey
from tests.support.fake_clock import FakeClock

LANE = "1.n1.0.sms.bulk-1"
IDS = [MessageId(bytes([n]) * 16) for n in range(4)]


def row(at: int, id_: MessageId) -> BufferRow:
    return Instant(at), id_, PartitionKey(id_), Instant(at), 1, AT_ONCE, "default/g"


def test_rows_of_one_instant_are_all_there_in_their_order(tmp_path: Path) -> None:
    copy = CoreCopy(tmp_path / "copy", clock=FakeClock(), is_swept=False)
    copy.add_rows(LANE, [row(5, IDS[0]), row(9, IDS[1]), row(9, IDS[2])])
    copy.add_rows(LANE, [row(9, IDS[3])])
    copy.close()
    with open_snapshot(tmp_path / "copy") as view:
        rows = [one for rows in view.buffer(LANE) for one in rows]
    assert [(one[0], one[1]) for one in rows] == list(zip([5, 9, 10, 11], IDS, strict=True))


@pytest.mark.parametrize("is_swept", [False, True])
def test_it_says_whether_messages_may_have_been_removed(tmp_path: Path, *, is_swept: bool) -> None:
    copy = CoreCopy(tmp_path / "copy", clock=FakeClock(), is_swept=is_swept)
    message = (IDS[0], PartitionKey(IDS[0]), Instant(5), "default/g", Body(b"x"))
    copy.add_messages([message])
    copy.close()
    with open_snapshot(tmp_path / "copy") as view:
        assert view.is_swept() is is_swept
        assert [block.ids for block in view.messages()] == [[IDS[0]]]
