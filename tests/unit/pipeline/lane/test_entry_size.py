"""No body of the journal is larger than its bound, whatever is claimed and whatever it is told.

Names may hold characters of four bytes; a group's key is the longest thing that a line can bring.
"""

from collections.abc import Callable
from random import Random

import pytest

from pipeline.instant import Instant, later
from pipeline.lane import actions as act
from pipeline.lane.entry import decode_entry
from pipeline.lane.lane import Lane
from pipeline.lane.recovery import JournalReadBack
from pipeline.lifecycle import Event
from pipeline.limits import (
    GROUP_CHARS_MAX,
    JOURNAL_BODY_BYTES_MAX,
    OUTCOME_DETAIL_CHARS_MAX,
    TENANT_CHARS_MAX,
    Windows,
)
from pipeline.message import Body, MessageId, PartitionKey, group_key
from pipeline.outcome import Outcomes
from pipeline.ports import JournalEntry
from pipeline.route.retry_policy import RetryPolicy
from tests.support.fake_clock import NOW
from tests.support.gates import NoLists, gate_of, unlimited
from tests.support.lane_story import fresh
from tests.support.lane_world import body_of
from tests.support.no_commands import answer_no_commands

LONGEST_DETAIL = "\N{GRINNING FACE}" * (OUTCOME_DETAIL_CHARS_MAX + 1)


def one_long_group(_: int) -> str:
    return group_key("t" * TENANT_CHARS_MAX, "\N{GRINNING FACE}" * GROUP_CHARS_MAX)


def a_long_group_each(number: int) -> str:
    group = f"{number:06}".ljust(GROUP_CHARS_MAX, "\N{GRINNING FACE}")
    return group_key("t" * TENANT_CHARS_MAX, group)


def a_long_group_of_a_short_tenant_each(number: int) -> str:
    return group_key("t", f"{number:06}".ljust(GROUP_CHARS_MAX, "\N{GRINNING FACE}"))


GROUPS = [one_long_group, a_long_group_each, a_long_group_of_a_short_tenant_each]


class Journal:
    """A lane that is filled to the brim, and all that it journals."""

    def __init__(self, group_of: Callable[[int], str], *, claims_open_max: int = 1_024) -> None:
        self.windows = Windows(claims_open_max=claims_open_max)
        self.group_of = group_of
        self.now = NOW
        self.count = 0
        self.handed_over: list[act.HandOverWindow] = []
        self.entries: list[JournalEntry] = []
        self.lane = Lane(
            fresh(windows=self.windows),
            windows=self.windows,
            admission=unlimited(),
            lists=NoLists(),
            retry_policy=RetryPolicy(),
            chance=Random(0),
            gate=gate_of("c" * 64),
            now=NOW,
        )

    def ring(self, count: int) -> None:
        """Bring messages, a few at a time: windows of every size come about."""
        numbers = range(self.count, self.count + count)
        self.count += count
        ids = [MessageId(number.to_bytes(16)) for number in numbers]
        self.lane.on_doorbell(
            message_ids=ids,
            partition_keys=[PartitionKey(id_) for id_ in ids],
            borns=[self.now] * count,
            groups=[self.group_of(number) for number in numbers],
            bodies=[BODY] * count,
        )

    def work(self) -> None:
        """Do all that can be done without an answer of the connector."""
        while True:
            appends = []
            was_asked = False
            for action in self.lane.decide(self.now):
                was_asked |= answer_no_commands(self.lane, action, now=self.now)
                if isinstance(action, act.Append):
                    appends.append(action)
                elif isinstance(action, act.HandOverWindow):
                    self.handed_over.append(action)
            if not appends:
                if was_asked:
                    continue
                return
            (append,) = appends
            assert len(append.body) <= JOURNAL_BODY_BYTES_MAX
            self.entries.append(JournalEntry(append.seq, append.body))
            self.lane.on_applied(append.seq, now=self.now)

    def answer_all(self) -> None:
        for window in self.handed_over:
            count = len(window.message_ids)
            self.lane.on_outcomes(
                window.seq,
                Outcomes.all_alike(Event.REFUSE, count, LONGEST_DETAIL),
                now=self.now,
            )
        self.handed_over = []

    def claimed_count(self) -> int:
        return sum(len(window.message_ids) for window in self.handed_over)


BODY: Body = body_of("x")


@pytest.mark.parametrize("group_of", GROUPS)
@pytest.mark.parametrize("claims_open_max", [1_024, 872, 109])
def test_claims_and_their_outcomes_fit(
    group_of: Callable[[int], str], claims_open_max: int
) -> None:
    journal = Journal(group_of, claims_open_max=claims_open_max)
    for _ in range(2):
        journal.ring(2 * claims_open_max)
        journal.work()
        assert journal.claimed_count() == claims_open_max
        journal.answer_all()
        journal.work()
    assert journal.lane.open_count == len(
        [id_ for window in journal.handed_over for id_ in window.message_ids]
    )


@pytest.mark.parametrize("group_of", GROUPS)
def test_claims_that_are_named_again_fit_and_none_is_left_out(
    group_of: Callable[[int], str],
) -> None:
    journal = Journal(group_of)
    for count in (1, 10, 100, 1_000):
        journal.ring(count)
        journal.work()
    claimed = {id_ for window in journal.handed_over for id_ in window.message_ids}
    assert len(claimed) == 1_024
    before = len(journal.entries)
    journal.now = later(NOW, journal.windows.near_horizon_ms + 1)
    journal.work()
    carried = [
        id_ for entry in journal.entries[before:] for id_ in decode_entry(entry.body).message_ids
    ]
    assert sorted(carried) == sorted(claimed)


@pytest.mark.parametrize("group_of", GROUPS)
def test_expired_messages_fit(group_of: Callable[[int], str]) -> None:
    journal = Journal(group_of)
    journal.ring(3_000)
    journal.now = Instant(journal.now + journal.windows.validity_ms_max * 1_000)
    journal.work()
    assert not journal.handed_over
    assert sum(len(decode_entry(entry.body).message_ids) for entry in journal.entries) == 3_000


@pytest.mark.parametrize("group_of", GROUPS)
def test_what_a_successor_says_of_open_claims_fits(group_of: Callable[[int], str]) -> None:
    journal = Journal(group_of)
    journal.ring(2_000)
    journal.work()
    read_back = JournalReadBack(newest_segment=0, first_offset=NOW)
    read_back.on_entries(journal.entries[::-1], limit=len(journal.entries) + 1)
    successor = Journal(group_of)
    successor.lane = Lane(
        read_back.result(),
        windows=successor.windows,
        admission=unlimited(),
        lists=NoLists(),
        retry_policy=RetryPolicy(),
        chance=Random(0),
        gate=gate_of("c" * 64),
        now=NOW,
    )
    successor.work()
    assert successor.lane.open_count == 0
    lost = sum(len(decode_entry(entry.body).message_ids) for entry in successor.entries)
    assert lost == 1_024
