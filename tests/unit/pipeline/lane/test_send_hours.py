"""Nothing is handed over out of its sender's hours, however late it became."""

from datetime import UTC, datetime

import pytest

from pipeline.instant import Instant, later
from pipeline.lane import actions as act
from pipeline.lane.send_hours import SendHours
from pipeline.message import Body, Submission, TimerRow, decode_body, encode_body, hours_of
from tests.support.fake_clock import NOW
from tests.support.lane_story import LaneStory, id_of
from tests.support.lane_world import body_of

# It is 22:13:20 of a Tuesday where the recipient lives.
CLOSING = "mon-sun 22:00-22:14"
TO_CLOSING_MS = 40_000
TO_NEXT_OPENING_MS = 85_600_000


def within(window: str, *, expires_at: Instant | None = None, time_zone: str = "") -> Body:
    return Body(
        encode_body(
            Submission(
                expires_at=expires_at,
                tenant="default",
                channel="sms",
                recipient="+447700900000",
                content="x",
                due_at=NOW,
                window=window,
                time_zone=time_zone,
            )
        )
    )


def story_of(*names: str, ends_ms: int = 2 * TO_NEXT_OPENING_MS) -> LaneStory:
    story = LaneStory()
    for name in names:
        story.bodies[name] = within(CLOSING, expires_at=later(NOW, ends_ms))
    return story


def put_off(story: LaneStory) -> list[TimerRow]:
    """Acknowledge what was written for the next hours; return it."""
    written = story.asked_for(act.WriteRuled)
    story.asked.remove(written)
    story.lane.decisions.on_written()
    return [*written.timers, *((row[4], *row[:4], row[5]) for row in written.rows)]


def test_what_is_late_waits_for_the_next_hours() -> None:
    story = story_of("e").tell("ring:a,b,c,d,e applied HAND:a,b,c,d +39000 NOCLAIM +2000 took")
    story.tell("SAYS:a=TAKE,b=TAKE,c=TAKE,d=TAKE applied settle")
    [timer] = put_off(story)
    assert timer[:2] == (later(NOW, TO_NEXT_OPENING_MS), id_of("e"))
    story.tell("settle SAYS:e=DEFER applied ring:f CLAIM:f")


def test_until_the_hours_are_over_it_is_claimed() -> None:
    story_of("a").tell(f"+{TO_CLOSING_MS - 1} ring:a CLAIM:a")


def test_what_is_claimed_leaves_before_the_hours_are_over() -> None:
    story = story_of("a").tell(f"+{TO_CLOSING_MS - 1} ring:a,b CLAIM:a,b applied HAND:a,b")
    assert story.asked_for(act.HandOverWindow).send_before == later(NOW, TO_CLOSING_MS)


def test_what_is_journaled_too_late_for_its_hours_waits_for_the_next_ones() -> None:
    story = story_of("a").tell(f"+{TO_CLOSING_MS - 1} ring:a CLAIM:a +2 applied NOHAND")
    story.tell("SAYS:a=NOT_SENT applied NOCLAIM settle")
    [timer] = put_off(story)
    assert timer[:2] == (later(NOW, TO_NEXT_OPENING_MS), id_of("a"))


def test_what_ends_before_the_next_hours_waits_until_it_ends() -> None:
    story = story_of("a", ends_ms=90_000).tell(f"+{TO_CLOSING_MS} ring:a NOCLAIM +250")
    [row] = put_off(story)
    assert row[:2] == (later(NOW, 90_000), id_of("a"))


def test_what_is_tried_again_waits_for_the_next_hours() -> None:
    story = story_of("a").tell("ring:a applied HAND:a +39500 deferred")
    story.tell(f"KEEPFAR:a={TO_NEXT_OPENING_MS - 39_500} kept SAYS:a=DEFER")


def test_what_is_tried_again_within_the_hours_is_not_put_off() -> None:
    story_of("a").tell("ring:a applied HAND:a +30000 deferred KEEP:a=1000 kept SAYS:a=DEFER")


def test_what_would_be_tried_again_after_its_end_has_expired() -> None:
    story = story_of("a", ends_ms=60_000).tell("ring:a applied HAND:a +39500 deferred")
    story.tell("SAYS:a=DEFER,a=EXPIRE")


def test_a_body_without_a_window_is_not_looked_into(monkeypatch: pytest.MonkeyPatch) -> None:
    assert hours_of(body_of("x", NOW)) is None
    assert hours_of(within("")) is None
    for key in ("", "k"):
        told = Submission(
            tenant="t", channel="sms", recipient="+1", content="x", window="w", time_zone="z",
            ordering_key=key,
        )  # fmt: skip
        body = Body(encode_body(told))
        assert decode_body(body) == told
        assert hours_of(body) == ("w", "z", "+1")
    monkeypatch.setattr("pipeline.message._hours_decoder", None)
    assert hours_of(body_of("x", NOW)) is None


@pytest.mark.parametrize(
    ("at", "opens"),
    [
        # Clocks go from 2 to 3: the window of 2:30 opens with the jump.
        pytest.param("2024-03-31T00:50:00+00:00", "2024-03-31T01:00:00+00:00", id="a gap"),
        # And from 3 back to 2: 2:30 comes twice, and both are open.
        pytest.param("2024-10-27T00:10:00+00:00", "2024-10-27T00:30:00+00:00", id="an overlap"),
        pytest.param(
            "2024-10-27T01:40:00+00:00", "2024-10-27T01:40:00+00:00", id="its second time"
        ),
    ],
)
def test_hours_are_those_of_the_wall(at: str, opens: str) -> None:
    hours, body = SendHours(), within("mon-sun 02:30-03:30", time_zone="Europe/Berlin")
    assert hours.opens_at(body, _instant(at)) == _instant(opens)


def test_hours_that_cannot_be_read_keep_nothing_back() -> None:
    assert SendHours().opens_at(within("when the moon is full"), NOW) == NOW


def _instant(text: str) -> Instant:
    return Instant(int(datetime.fromisoformat(text).astimezone(UTC).timestamp()) * 1_000_000)


def test_many_that_are_out_of_their_hours_are_put_off_entry_by_entry() -> None:
    names = [f"m{n}" for n in range(12)]
    story = story_of(*names).tell(f"+{TO_CLOSING_MS} ring:{','.join(names)} +250")
    assert {row[1] for row in put_off(story)} == {id_of(name) for name in names}
    story.tell("settle WAITING:0")
