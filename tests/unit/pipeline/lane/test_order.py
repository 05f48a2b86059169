"""Messages that share an ordering key: one after another, whatever happens to the first."""

from itertools import pairwise

import pytest

from pipeline.command import CommandKind
from pipeline.instant import DurationMs, Instant, later
from pipeline.lane import actions as act
from pipeline.lane import order as order_module
from pipeline.lane.order import Order
from pipeline.lane.recovery import JournalReadBack
from pipeline.lane.window import Candidate
from pipeline.later import GroupOrder
from pipeline.lifecycle import Event, step_of
from pipeline.limits import Windows
from pipeline.message import AT_ONCE, BufferRow, MessageId, PartitionKey
from pipeline.ports import JournalEntry
from tests.support.lane_story import GROUP, NOW, WINDOWS, LaneStory, fresh

FIRST = "row:a~k,b~k folds bodies:a~k CLAIM:a~k applied HAND:a~k"
RETRY_MS = WINDOWS.ordered_retry_ms
LATE_MS = WINDOWS.send_deadline_ms + WINDOWS.clock_skew_ms_max


def successor(story: LaneStory) -> LaneStory:
    read_back = JournalReadBack(first_offset=fresh().offset, newest_segment=0)
    read_back.on_entries(
        [JournalEntry(seq, body) for seq, body in reversed(story.journal)], limit=1_000
    )
    return LaneStory(read_back.result(), borns=story.borns, now=story.now)


@pytest.mark.parametrize(
    "story",
    [
        pytest.param(
            "row:a~k,b~k FOLDS:a~k folds BODIES:a~k bodies:a~k CLAIM:a~k applied HAND:a~k NOFOLDS"
            " took SAYS:a~k=TAKE FOLDS:b~k folds applied bodies:b~k CLAIM:b~k",
            id="one after another",
        ),
        pytest.param(
            FIRST + " refused SAYS:a~k=REFUSE FOLDS:b~k",
            id="a refused one is final",
        ),
        pytest.param(
            "row:a~k,b~l,c FOLDS:a~k,b~l BODIES:c folds bodies:c CLAIM:c BODIES:a~k,b~l"
            " bodies:a~k,b~l applied CLAIM:a~k,b~l",
            id="other keys, and messages without one, go beside it",
        ),
        pytest.param(
            FIRST + " unsent SAYS:a~k=NOT_SENT applied NOFOLDS +100 CLAIM:a~k NOFOLDS",
            id="one that was not sent is claimed again before its successor",
        ),
        pytest.param(
            FIRST + " deferred KEEP:a~k=1000 kept SAYS:a~k=DEFER applied NOFOLDS NOCLAIM"
            " +1000 CLAIM:a~k applied HAND:a~k took SAYS:a~k=TAKE FOLDS:b~k",
            id="one that was refused for now is tried again before its successor",
        ),
        pytest.param(
            "ring:a~k NOCLAIM NOBODIES NOFOLDS READ row:a~k FOLDS:a~k",
            id="a doorbell only causes a read",
        ),
        pytest.param(
            "+10 row +10 NOREAD ring:a~k,b READ CLAIM:b",
            id="and it causes one at once, and brings what has no key",
        ),
        pytest.param(
            "row:a~k,b~k,a~k folds bodies:a~k applied took SAYS:a~k=TAKE FOLDS:b~k folds applied"
            " bodies:b~k CLAIM:b~k applied took SAYS:b~k=TAKE NOFOLDS applied NOCLAIM",
            id="a copy of a row says nothing new",
        ),
        pytest.param(
            "row:a~k,b~k folds:a~k=TAKE FOLDS:b~k",
            id="what was final before lets its successor follow",
        ),
        pytest.param(
            "row:a~k,b~k folds:a~k=DEFER NOBODIES NOFOLDS",
            id="one that waits for its second attempt stays the first though its row is not here",
        ),
        pytest.param(
            "row:a~k,b~k folds:a~k=DEFER +1000 row2:a~k FOLDS:a~k folds:a~k=DEFER BODIES:a~k"
            " bodies:a~k applied CLAIM:a~k",
            id="and is claimed when that comes",
        ),
        pytest.param(
            "row:a~k,b~k folds:a~k=DEFER +1000 row2:b~k NOFOLDS +1000 row2:a~k folds:a~k=DEFER"
            " bodies:a~k applied applied took FOLDS:b~k folds:b~k=DEFER BODIES:b~k",
            id="the second attempt of a successor, too, waits for its turn",
        ),
        pytest.param(
            "due:b~k=1 timer:b~k=2 FOLDS:b~k folds:b~k=DEFER NOBODIES row:a~k,b~k FOLDS:a~k"
            " +10 NOBODIES folds bodies:a~k applied took FOLDS:b~k folds:b~k=DEFER BODIES:b~k",
            id="a timer that is read before its message's turn waits for it",
        ),
        pytest.param(
            "due:b~k=1 moretimers:b~k=2 folds:b~k=DEFER timer:b~k=3 NOFOLDS row:a~k,b~k +10 folds"
            " bodies:a~k applied took FOLDS:b~k folds:b~k=DEFER/2 BODIES:b~k",
            id="and so does the one of the attempt after that",
        ),
        pytest.param(
            FIRST + " lost SAYS:a~k=LOSE_ANSWER applied NOFOLDS +30499 NOFOLDS +1 FOLDS:b~k",
            id="nobody follows an uncertain one while it may still be handed over",
        ),
        pytest.param(
            "row:a~k,b~k folds:a~k=LOSE_ANSWER NOFOLDS +30500 FOLDS:b~k",
            id="nor if somebody else made it uncertain",
        ),
        pytest.param(
            "expiring:a~k=5 row:a~k,b~k folds +10 bodies:a~k SAYS:a~k=EXPIRE FOLDS:b~k",
            id="one that expired lets its successor follow",
        ),
    ],
)
def test_one_after_another(story: str) -> None:
    LaneStory().tell(story)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(
            FIRST + " deferred kept applied settle +250 settle",
            "row:a~k,b~k NOBODIES NOFOLDS +1000 row2:a~k BODIES:a~k",
            id="its retry",
        ),
        pytest.param(FIRST, "applied row:a~k,b~k NOBODIES +30500 FOLDS:b~k", id="its claim"),
        pytest.param("row:a~k,b~k folds", "row:a~k,b~k FOLDS:a~k", id="nothing of it"),
    ],
)
def test_a_successor_knows_whom_to_wait_for(before: str, after: str) -> None:
    successor(LaneStory().tell(before)).tell(after)


def test_the_offset_goes_on_and_that_of_ordered_rows_waits() -> None:
    story = LaneStory().tell("row:a~k,b~k folds bodies:a~k applied deferred kept applied +250")
    first_at = NOW
    story.tell("settle +1000 row:c bodies:c applied took applied settle +250 settle")
    story.tell("+1000 row settle +1000 row settle")
    taken_over = successor(story)
    (read,) = [one for one in taken_over.asked if isinstance(one, act.ReadRows)]
    assert read.from_at == first_at
    assert story.lane.offset > later(first_at, 1_000)
    # What has no key is resolved below the offset, and not looked at.
    taken_over.answer_read([story.row("a~k", at=first_at), story.row("x", at=first_at)])
    taken_over.tell("NOFOLDS NOBODIES")


def test_the_offset_of_ordered_rows_goes_on_once_they_are_final() -> None:
    story = LaneStory().tell("row:a~k folds bodies:a~k applied took applied")
    story.tell("+1000 row settle +250 settle +1000 row settle +1000 row settle")
    (read,) = [one for one in successor(story).asked if isinstance(one, act.ReadRows)]
    assert read.from_at > NOW


def test_one_that_is_refused_for_too_long_gets_out_of_the_way() -> None:
    story = LaneStory().tell(FIRST)
    for wait_ms in (1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 64_000):
        story.tell(f"deferred kept applied +{wait_ms} CLAIM:a~k applied HAND:a~k settle")
    # 127 of 180 seconds are over: the last try is at their end.
    story.tell(f"deferred KEEP:a~k={RETRY_MS - 127_000} kept applied +{RETRY_MS - 127_000}")
    story.tell("CLAIM:a~k applied HAND:a~k deferred NOKEEP SAYS:a~k=REFUSE FOLDS:b~k")
    entry = story.entry
    assert entry is not None
    assert "given up after 9 attempts" in entry.details[0]


def test_one_without_a_key_is_tried_for_as_long_as_ever() -> None:
    story = LaneStory().tell("ring:a applied")
    for wait_ms in (1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 64_000, 128_000):
        story.tell(f"deferred KEEP:a={wait_ms} kept applied +{wait_ms} applied settle")


def test_a_paused_group_holds_its_line_and_what_expires_meanwhile_gets_out_of_it() -> None:
    story = LaneStory()
    story.orders.append(GroupOrder(GROUP, CommandKind.PAUSE, NOW, b"p" * 16, "ada"))
    story.lane.decisions.on_orders(story.orders)
    story.tell(
        "expiring:a~k=5000 row:a~k,b~k folds bodies:a~k NOCLAIM settle +4000 row settle NOAPPEND"
    )
    story.tell("+1000 settle bodies:a~k SAYS:a~k=EXPIRE FOLDS:b~k")


# --- the line itself ------------------------------------------------------------------------------


def _row(n: int, *, pk: bytes = b"k" * 16, attempt: int = 1) -> BufferRow:
    at = Instant(NOW + n)
    return (at, MessageId(n.to_bytes(16)), PartitionKey(pk), NOW, attempt, AT_ONCE, f"g{n % 3}")


class _Looked:
    def __init__(self, windows: Windows = WINDOWS) -> None:
        self.ids: list[int] = []
        self.candidates: list[Candidate] = []
        self.order = Order(self._look_up, windows=windows)

    def _look_up(self, id_: MessageId, candidate: Candidate, attempt: int) -> None:
        self.ids.append(int.from_bytes(id_))
        self.candidates.append(candidate)

    def end(self, n: int, event: Event = Event.TAKE) -> None:
        step = step_of(attempt=1, try_no=1, event=event)
        self.order.on_step(PartitionKey(b"k" * 16), MessageId(n.to_bytes(16)), step)


def test_a_long_line_is_kept_in_little_memory_and_in_order() -> None:
    looked = _Looked()
    for n in range(100_000):
        looked.order.add(_row(n))
    assert looked.ids == [0]
    assert looked.order.waiting_count == 99_999
    packed = looked.order._keys[PartitionKey(b"k" * 16)].waiting._packed
    assert len(packed) < 64 * 100_000
    for n in range(1_000):
        looked.end(n)
    assert looked.ids == list(range(1_001))
    assert [candidate.group for candidate in looked.candidates[:4]] == ["g0", "g1", "g2", "g0"]
    assert looked.order.resolved_before(Instant(NOW + 10**6)) == NOW + 1_000


def test_a_line_of_final_messages_is_gone_through_without_recursion() -> None:
    looked = _Looked()

    def look_up(id_: MessageId, candidate: Candidate, attempt: int) -> None:
        looked.ids.append(int.from_bytes(id_))
        if int.from_bytes(id_):
            looked.end(int.from_bytes(id_))

    looked.order = Order(look_up, windows=WINDOWS)
    for n in range(5_000):
        looked.order.add(_row(n))
    looked.end(0)
    assert looked.ids == list(range(5_000))
    assert looked.order.resolved_before(Instant(NOW + 10**6)) == NOW + 10**6


def test_a_full_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order_module, "ORDERED_ROWS_MAX", 2)
    looked = _Looked()
    for n in range(3):
        assert not looked.order.is_full
        looked.order.add(_row(n))
    assert looked.order.is_full


def test_the_cursor_waits_where_no_more_rows_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order_module, "ORDERED_ROWS_MAX", 2)
    story = LaneStory().tell("row:a~k,b~k,c~k +1000 LAGS NOREAD folds bodies:a~k applied NOREAD")
    story.tell("applied took SAYS:a~k=TAKE applied READ")


def test_the_oldest_head_of_all_keys_holds_the_offset() -> None:
    looked = _Looked()
    for n, key in enumerate((b"a", b"b", b"a", b"c")):
        looked.order.add(_row(n, pk=key * 16))
    cursor = Instant(NOW + 100)
    held = [looked.order.resolved_before(cursor) - NOW]
    for key, n in ((b"a", 0), (b"b", 1), (b"a", 2), (b"c", 3)):
        step = step_of(attempt=1, try_no=1, event=Event.TAKE)
        looked.order.on_step(PartitionKey(key * 16), MessageId(n.to_bytes(16)), step)
        held.append(looked.order.resolved_before(cursor) - NOW)
    assert held == [0, 1, 2, 3, 100]
    assert all(one <= two for one, two in pairwise(held))


def test_a_resend_of_an_uncertain_one_comes_before_its_successor() -> None:
    looked = _Looked()
    for n in range(2):
        looked.order.add(_row(n))
    looked.end(0, Event.LOSE_ANSWER)
    looked.order.decide(NOW)
    looked.end(0, Event.DEFER)
    looked.order.decide(later(NOW, LATE_MS))
    assert looked.ids == [0]
    looked.end(0, Event.LOSE_ANSWER)
    looked.order.decide(later(NOW, LATE_MS))
    assert looked.ids == [0]
    looked.order.decide(later(NOW, DurationMs(2 * LATE_MS)))
    assert looked.ids == [0, 1]


def test_a_clock_that_is_set_back_keeps_nobody_waiting() -> None:
    looked = _Looked()
    for n in range(2):
        looked.order.add(_row(n))
    looked.end(0, Event.LOSE_ANSWER)
    looked.order.decide(later(NOW, 3_600_000))
    looked.order.on_clock_set_back(NOW)
    looked.order.decide(later(NOW, LATE_MS))
    assert looked.ids == [0, 1]
