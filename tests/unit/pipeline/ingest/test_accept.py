from collections.abc import Sequence
from dataclasses import replace

import msgspec
import pytest

from cluster.topology.generation import Core
from pipeline.ingest.accept import AcceptPlan, LaneBatch, Settled, core_of, plan_accept, settle
from pipeline.ingest.chunk import KeyTaken, SubmitChunk
from pipeline.ingest.ids import born_of
from pipeline.instant import Instant, later
from pipeline.lane_id import LaneId, band_of
from pipeline.message import Submission, encode_body
from tests.support.topologies import make_generation

NOW = Instant(1_700_000_000_123_456)
GENERATION = make_generation()


def submissions(
    count: int, *, channel: str = "sms", priority: str = "normal", content: str = "hello"
) -> list[Submission]:
    return [
        Submission(
            tenant="default",
            channel=channel,
            recipient="+447700900000",
            content=f"{content} {number}",
            group="spring",
            priority=priority,
        )
        for number in range(count)
    ]


def plan(
    asked: Sequence[Submission],
    *,
    batch_key: bytes | None = None,
    keys: list[bytes] | None = None,
    first_index: int = 0,
    positions: list[int] | None = None,
    now: Instant = NOW,
    chance: int = 0,
) -> AcceptPlan:
    chunk = SubmitChunk(
        tenant="default",
        batch_key=batch_key,
        first_index=first_index,
        positions=list(range(len(asked))) if positions is None else positions,
        keys=keys,
        bodies=[encode_body(submission) for submission in asked],
    )
    random_bytes = b"".join((chance + n).to_bytes(10) for n in range(len(asked)))
    return plan_accept(chunk, asked, now=now, chance=random_bytes)


def accepted(planned: AcceptPlan, *, as_first: AcceptPlan | None = None) -> Settled:
    """Settle a plan as a store does that met `as_first` before, else nothing."""
    standing = (as_first or planned).idempotency_rows
    settled = settle(planned, standing, generation=GENERATION)
    assert isinstance(settled, Settled)
    return settled


def rows_of(settled: Settled) -> dict[bytes, tuple[LaneId, Instant]]:
    return {
        id_: (lane, born)
        for lane, batch in settled.lanes.items()
        for id_, born in zip(batch.message_ids, batch.borns, strict=True)
    }


def test_the_same_batch_gives_the_same_ids_at_any_time_and_another_gives_others() -> None:
    first = plan(submissions(3), batch_key=b"file")
    again = plan(submissions(3), batch_key=b"file", now=later(NOW, 60_000))
    assert again.message_ids == first.message_ids
    assert len(set(first.message_ids)) == 3
    other = plan(submissions(3), batch_key=b"other file")
    assert not set(other.message_ids) & set(first.message_ids)


def test_the_place_in_the_batch_makes_the_id_also_where_lines_were_refused() -> None:
    whole = plan(submissions(4), batch_key=b"file", first_index=1_000)
    holey = plan(submissions(2), batch_key=b"file", first_index=1_000, positions=[1, 3])
    assert holey.message_ids == [whole.message_ids[1], whole.message_ids[3]]


def test_a_batch_costs_one_row_a_chunk_a_clients_keys_one_each_and_minted_ids_none() -> None:
    assert len(plan(submissions(3), batch_key=b"file").idempotency_rows) == 1
    assert len(plan(submissions(3), keys=[b"a", b"b", b"c"]).idempotency_rows) == 3
    assert len(plan(submissions(3)).idempotency_rows) == 0


@pytest.mark.parametrize("how", [{"batch_key": b"file"}, {"keys": [b"a", b"b"]}])
def test_a_repeat_adopts_the_ids_and_the_born_of_the_first(how: dict[str, object]) -> None:
    first = plan(submissions(2), **how)  # type: ignore[arg-type]
    repeat = plan(submissions(2), **how, now=later(NOW, 60_000))  # type: ignore[arg-type]
    again = accepted(repeat, as_first=first)
    assert again.is_repeat
    assert rows_of(again) == rows_of(accepted(first))
    assert not accepted(first).is_repeat


def test_the_same_chunk_key_with_another_text_is_refused() -> None:
    first = plan(submissions(2), batch_key=b"file")
    other = plan(submissions(2, content="bye"), batch_key=b"file", now=later(NOW, 1))
    assert settle(other, first.idempotency_rows, generation=GENERATION) == KeyTaken([], NOW)


def test_the_same_chunk_key_with_the_texts_at_other_places_is_refused() -> None:
    first = plan(submissions(2), batch_key=b"file", positions=[0, 1])
    other = plan(submissions(2), batch_key=b"file", positions=[0, 2])
    answer = settle(other, first.idempotency_rows, generation=GENERATION)
    assert isinstance(answer, KeyTaken)


def test_of_a_clients_keys_those_that_are_taken_are_named() -> None:
    first = plan(submissions(3), keys=[b"a", b"b", b"c"])
    asked = submissions(3)
    asked[1] = msgspec.structs.replace(asked[1], content="another")
    other = plan(asked, keys=[b"a", b"b", b"c"])
    assert settle(other, first.idempotency_rows, generation=GENERATION) == KeyTaken([1], NOW)


def test_a_minted_id_holds_its_born() -> None:
    settled = accepted(plan(submissions(2)))
    for id_, (_, born) in rows_of(settled).items():
        assert born == born_of(id_)  # type: ignore[arg-type]
        assert NOW - 1_000 < born <= NOW


def test_minted_ids_differ_by_chance_alone() -> None:
    one, other = plan(submissions(1)), plan(submissions(1), chance=7)
    assert one.message_ids != other.message_ids


def test_every_message_lies_in_the_lane_of_its_core_channel_and_band() -> None:
    asked = [
        *submissions(40, channel="sms", priority="urgent"),
        *submissions(40, channel="email", priority="bulk"),
    ]
    planned = plan(asked, batch_key=b"file")
    settled = accepted(planned)
    lane_of = {id_: lane for id_, (lane, _) in rows_of(settled).items()}
    assert len(lane_of) == 80
    for id_, submission in zip(planned.message_ids, asked, strict=True):
        core: Core = GENERATION.core_of(id_)
        band = band_of(tenant="default", priority=submission.priority)
        lane = lane_of[id_]
        assert lane == LaneId(1, core.node, core.shard, submission.channel, band)
        assert core_of(lane) == core


def test_columns_of_a_lane_belong_together() -> None:
    planned = plan(submissions(50), batch_key=b"file")
    body_of = dict(zip(planned.message_ids, planned.chunk.bodies, strict=True))
    for batch in accepted(planned).lanes.values():
        for id_, pk, born, group, body in batch.message_rows():
            assert bytes(pk) == bytes(id_)
            assert (born, group, bytes(body)) == (NOW, "default/spring", body_of[id_])
        assert [row[:3] for row in batch.buffer_entries()] == [
            row[:3] for row in batch.message_rows()
        ]
        assert {row[3:] for row in batch.buffer_entries()} == {(1, "default/spring")}


def test_a_batch_that_lacks_a_column_is_a_mistake() -> None:
    batch = next(iter(accepted(plan(submissions(3), batch_key=b"file")).lanes.values()))
    assert isinstance(batch, LaneBatch)
    with pytest.raises(ValueError, match="zip"):
        replace(batch, bodies=[]).message_rows()
