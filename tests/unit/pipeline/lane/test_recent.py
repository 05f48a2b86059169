"""The recent set is exact: every id that an un-retired entry names, and no other."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.instant import Instant
from pipeline.lane.entry import Entry
from pipeline.lane.recent import RecentSet
from pipeline.lifecycle import Event, Step, step_of
from pipeline.message import MessageId

A, B = MessageId(b"a" * 16), MessageId(b"b" * 16)
CLAIM = step_of(attempt=1, try_no=1, event=Event.CLAIM)
TAKE = step_of(attempt=1, try_no=1, event=Event.TAKE)
LAST = step_of(attempt=255, try_no=65_535, event=Event.SUPPRESS)
P_US = 3_000_000
BORN = Instant(1_000_000_000)


def recent_of(*entries: tuple[int, dict[MessageId, int]]) -> RecentSet:
    recent = RecentSet(())
    for seq, steps in entries:
        recent.name(seq, list(steps), steps=list(steps.values()), borns=[BORN] * len(steps))
    return recent


def test_an_id_is_known_with_its_last_step() -> None:
    recent = recent_of((0, {A: CLAIM, B: CLAIM}), (1, {A: TAKE}))
    assert (recent.step(A), recent.step(B)) == (TAKE, CLAIM)
    assert A in recent
    assert len(recent) == 2


def test_an_id_that_nobody_named_is_unknown() -> None:
    recent = recent_of((0, {A: CLAIM}))
    assert B not in recent
    assert recent.step(B) is None
    assert recent.step_or_none(B) is None


def test_it_is_rebuilt_from_entries() -> None:
    entry = Entry(
        at=BORN,
        connector="file",
        message_ids=[A],
        steps=[CLAIM],
        events_before=[0],
        borns=[BORN],
        groups=["g"],
        partition_keys={},
        details={},
        checkpoint=None,
    )
    recent = RecentSet([(7, entry)])
    assert recent.step(A) == CLAIM
    assert recent.entry(7).born_max == BORN
    assert recent.entries_count == 1


def test_the_largest_step_and_the_largest_seq_fit_together() -> None:
    seq = (1 << 40) + 1
    recent = recent_of((seq, {A: LAST}))
    assert recent.step(A) == LAST
    known = recent.step_or_none(A)
    assert known is not None
    assert known & 0xFF == Event.SUPPRESS
    recent.retire(seq - 1)
    assert A in recent
    recent.retire(seq)
    assert A not in recent


def test_retirement_forgets_ids_that_no_later_entry_names() -> None:
    recent = recent_of((0, {A: CLAIM, B: CLAIM}), (1, {A: TAKE}))
    recent.retire(0)
    assert A in recent
    assert B not in recent
    assert recent.entries_count == 1
    with pytest.raises(KeyError):
        recent.entry(0)


def test_an_id_named_twice_by_one_entry_is_forgotten_once() -> None:
    recent = RecentSet(())
    recent.name(0, [A, A], steps=[CLAIM, TAKE], borns=[BORN, BORN])
    assert recent.step(A) == TAKE
    recent.retire(0)
    assert not recent.has_entries


@pytest.mark.parametrize(
    ("offset_us", "done_through", "open_count", "through"),
    [
        pytest.param(P_US + 1, 2, 0, 2, id="all may"),
        pytest.param(P_US, 2, 0, -1, id="the offset is not beyond born + P"),
        pytest.param(P_US + 1, 1, 0, 1, id="not those that are not projected and counted"),
        pytest.param(P_US + 1, -1, 0, -1, id="none is"),
        pytest.param(P_US + 1, 2, 1, 0, id="not one with an open claim, nor what follows it"),
    ],
)
def test_entries_retire_in_order(
    offset_us: int, done_through: int, open_count: int, through: int
) -> None:
    recent = recent_of((0, {A: CLAIM}), (1, {B: CLAIM}), (2, {A: TAKE}))
    recent.entry(1).open_count = open_count
    assert (
        recent.retirable_through(
            offset=Instant(BORN + offset_us), prompt_us=P_US, done_through=done_through
        )
        == through
    )


def test_the_youngest_birth_of_an_entry_counts() -> None:
    recent = RecentSet(())
    recent.name(0, [A, B], steps=[CLAIM, CLAIM], borns=[Instant(BORN + 5), BORN])
    offset = Instant(BORN + P_US + 1)
    assert recent.retirable_through(offset=offset, prompt_us=P_US, done_through=0) == -1


def test_an_entry_without_lines_retires_with_its_neighbours() -> None:
    recent = recent_of((0, {}), (1, {A: CLAIM}), (2, {}))
    offset = Instant(BORN + P_US + 1)
    assert recent.retirable_through(offset=offset, prompt_us=P_US, done_through=9) == 2
    assert not recent.names_any_through(0)
    assert recent.names_any_through(1)
    recent.retire(1)
    assert not recent.names_any_through(9)


@given(
    st.lists(st.lists(st.integers(0, 5), max_size=4, unique=True), max_size=12),
    st.lists(st.integers(-1, 12), max_size=5),
)
def test_it_names_exactly_what_is_not_retired(
    named: list[list[int]], retirements: list[int]
) -> None:
    recent = RecentSet(())
    entries = [[MessageId(number.to_bytes(16)) for number in numbers] for numbers in named]
    for seq, ids in enumerate(entries):
        recent.name(seq, ids, steps=[Step(seq + 1)] * len(ids), borns=[BORN] * len(ids))
    for through in [-1, *sorted(retirements)]:
        recent.retire(through)
        left = {id_: seq + 1 for seq, ids in enumerate(entries) if seq > through for id_ in ids}
        for number in range(6):
            id_ = MessageId(number.to_bytes(16))
            assert recent.step(id_) == left.get(id_)
            assert (id_ in recent) == (id_ in left)
        assert len(recent) == len(left)
        assert recent.has_entries == bool(left)
