"""The front itself: every break does what it says, so that tests of others can be believed."""

import pytest

from pipeline.errors import StoreUnavailable, WriteUnknown
from pipeline.lane_id import LaneId
from tests.cassandra.front import Break, Rule
from tests.cassandra.scylla_data import ScyllaData
from tests.contract.store_under_test import OWNER_A, Rows

pytestmark = pytest.mark.stand_in


@pytest.fixture
def rows(under_test: ScyllaData) -> Rows:
    return Rows(under_test.generation, under_test.generation.cores[0])


def appends(text: str) -> bool:
    return "SET body" in text


async def opened(under_test: ScyllaData, rows: Rows) -> LaneId:
    lane = rows.lane()
    store = await under_test.open()
    assert await store.open_segment(lane, 0, epoch=1, owner=OWNER_A)
    return lane


async def test_what_is_refused_was_certainly_not_done(under_test: ScyllaData, rows: Rows) -> None:
    lane = await opened(under_test, rows)
    store = await under_test.open()
    breaking = under_test.fronts.breaking(Rule(Break.REFUSE, appends))
    with breaking as rule, pytest.raises(StoreUnavailable):
        await store.append(lane, 0, epoch=1, seq=0, body=b"1")
    assert rule.hits == 1
    assert await store.read_journal(lane, 0, before_seq=None, limit=9) == []


@pytest.mark.parametrize("how", [Break.LOSE, Break.CUT_ANSWER])
async def test_an_append_whose_answer_was_lost_is_there_and_its_repeat_says_so(
    under_test: ScyllaData, rows: Rows, how: Break
) -> None:
    lane = await opened(under_test, rows)
    store = await under_test.open()
    with under_test.fronts.breaking(Rule(how, appends)) as rule, pytest.raises(WriteUnknown):
        await store.append(lane, 0, epoch=1, seq=0, body=b"1")
    assert rule.hits == 1
    # From another process: the connection of the first may be gone.
    other = await under_test.open()
    assert [entry.body for entry in await other.read_journal(lane, 0, before_seq=9, limit=9)] == [
        b"1"
    ]
    assert await other.append(lane, 0, epoch=1, seq=0, body=b"1")
    assert not await other.append(lane, 0, epoch=1, seq=0, body=b"2")


async def test_an_append_whose_connection_was_cut_before_is_not_there_and_unknown(
    under_test: ScyllaData, rows: Rows
) -> None:
    lane = await opened(under_test, rows)
    store = await under_test.open()
    with under_test.fronts.breaking(Rule(Break.CUT, appends)), pytest.raises(WriteUnknown):
        await store.append(lane, 0, epoch=1, seq=0, body=b"1")
    other = await under_test.open()
    assert await other.read_journal(lane, 0, before_seq=None, limit=9) == []


async def test_an_append_that_arrives_twice_is_one(under_test: ScyllaData, rows: Rows) -> None:
    lane = await opened(under_test, rows)
    store = await under_test.open()
    with under_test.fronts.breaking(Rule(Break.TWICE, appends)) as rule:
        for seq in range(20):
            assert await store.append(lane, 0, epoch=1, seq=seq, body=b"%d" % seq)
    assert rule.hits == 20
    entries = await store.read_journal(lane, 0, before_seq=None, limit=99)
    assert [(entry.seq, entry.body) for entry in entries] == [
        (seq, b"%d" % seq) for seq in reversed(range(20))
    ]


async def test_a_rule_lets_some_through_first_and_takes_no_more_than_it_may(
    under_test: ScyllaData, rows: Rows
) -> None:
    lane = await opened(under_test, rows)
    store = await under_test.open()
    outcomes = []
    with under_test.fronts.breaking(Rule(Break.REFUSE, appends, after=1, left=2)):
        for seq in range(5):
            try:
                outcomes.append(await store.append(lane, 0, epoch=1, seq=seq, body=b"x"))
            except StoreUnavailable:
                outcomes.append(False)
    assert outcomes == [True, False, False, True, True]


async def test_an_append_that_is_late_arrives(under_test: ScyllaData, rows: Rows) -> None:
    lane = await opened(under_test, rows)
    store = await under_test.open()
    with under_test.fronts.breaking(Rule(Break.DELAY, appends, delay_s=0.2)) as rule:
        assert await store.append(lane, 0, epoch=1, seq=0, body=b"1")
    assert rule.hits == 1
