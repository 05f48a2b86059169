"""From submissions to rows: ids, what an earlier try decided, and where each message goes."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.ingest.accept import AcceptPlan, Settled, core_of, plan_accept, settle
from pipeline.ingest.chunk import KeyTaken, SubmitChunk
from pipeline.ingest.ids import batch_ids, born_of, chunk_id, keyed_id, ordering_pk
from pipeline.ingest.schedule import SendTimes
from pipeline.instant import Instant, later
from pipeline.lane_id import band_of
from pipeline.limits import Windows
from pipeline.message import (
    AT_ONCE,
    Body,
    MessageId,
    PartitionKey,
    Submission,
    decode_body,
    is_ordered,
)
from pipeline.ports import IdempotencyRow
from tests.support.fake_clock import NOW
from tests.support.submissions import (
    bodies_of,
    make_chunk,
    make_submission,
    some_bodies,
    submissions_of,
)
from tests.support.topologies import make_generation

GENERATION = make_generation()
LATER = Instant(NOW + 60_000_000)
TIMES = SendTimes(validity_ms_max=Windows().validity_ms_max)


def plan(chunk: SubmitChunk, *, now: Instant = NOW, chance: bytes = b"") -> AcceptPlan:
    return plan_accept(chunk, submissions_of(chunk), now=now, chance=chance)


def settled(plan: AcceptPlan, standing: Sequence[IdempotencyRow] | None = None) -> Settled:
    answer = settle(
        plan,
        plan.idempotency_rows if standing is None else standing,
        generation=GENERATION,
        times=TIMES,
    )
    assert isinstance(answer, Settled)
    return answer


def placed(settled: Settled) -> dict[MessageId, Body]:
    return {
        id_: body
        for batch in settled.lanes.values()
        for id_, body in zip(batch.message_ids, batch.bodies, strict=True)
    }


# --- ids ------------------------------------------------------------------------------------------


def test_a_chunk_of_a_batch_has_one_row_and_ids_by_its_records() -> None:
    chunk = make_chunk(some_bodies(3), first_index=2_000, positions=[0, 5, 999])
    made = plan(chunk)
    assert list(made.message_ids) == batch_ids(
        tenant="acme", batch_key=b"a file", indexes=[2_000, 2_005, 2_999]
    )
    (row,) = made.idempotency_rows
    assert row.id == chunk_id(tenant="acme", batch_key=b"a file", first_index=2_000)
    assert row.born == NOW


def test_a_record_that_is_refused_moves_nobodys_id() -> None:
    whole = plan(make_chunk(some_bodies(4)))
    with_gap = plan(make_chunk(some_bodies(4)[2:], positions=[2, 3]))
    assert whole.message_ids[2:] == with_gap.message_ids


def test_keys_of_their_own_have_rows_of_their_own() -> None:
    chunk = make_chunk(some_bodies(2), keys=[b"k1", b"k2"])
    made = plan(chunk)
    assert list(made.message_ids) == [keyed_id(tenant="acme", key=key) for key in (b"k1", b"k2")]
    assert [row.id for row in made.idempotency_rows] == list(made.message_ids)
    assert len({row.body_hash for row in made.idempotency_rows}) == 2


def test_without_keys_ids_are_minted_from_chance_and_nothing_is_remembered() -> None:
    chunk = make_chunk(some_bodies(3), batch_key=None)
    made = plan(chunk, now=Instant(NOW + 999), chance=bytes(range(30)))
    assert made.idempotency_rows == []
    assert len(set(made.message_ids)) == 3
    assert [id_[8:] for id_ in made.message_ids] == [
        bytes([n & 0x3F | 0x80, *range(n + 1, n + 8)]) for n in (2, 12, 22)
    ]


def test_the_birth_of_a_minted_id_is_the_one_in_the_id() -> None:
    made = plan(make_chunk(batch_key=None), now=Instant(NOW + 999), chance=bytes(20))
    for batch in settled(made).lanes.values():
        assert list(batch.borns) == [born_of(id_) for id_ in batch.message_ids]


def test_the_hash_of_a_chunk_never_changes() -> None:
    """It is stored, and compared with that of a repeat by a later release."""
    chunk = make_chunk([b"body-0", b"body-2"], positions=[0, 2])
    (row,) = plan_accept(chunk, [make_submission()] * 2, now=NOW, chance=b"").idempotency_rows
    assert row.body_hash.hex() == "92bb21ed03e5cb8097c024e7dc459f76"


def test_the_hash_of_a_body_never_changes() -> None:
    chunk = make_chunk([b"body-0"], keys=[b"k"])
    (row,) = plan_accept(chunk, [make_submission()], now=NOW, chance=b"").idempotency_rows
    assert row.body_hash.hex() == "b89b87f7d0bd3c2ad240ad0ab0867cce"


# --- repeats --------------------------------------------------------------------------------------


def test_the_first_to_ask_is_no_repeat_and_its_birth_is_now() -> None:
    answer = settled(plan(make_chunk()))
    assert answer.repeated_count == 0
    assert {born for batch in answer.lanes.values() for born in batch.borns} == {NOW}


def test_a_repeat_of_a_batch_adopts_the_birth_of_the_first() -> None:
    first, repeat = plan(make_chunk()), plan(make_chunk(), now=LATER)
    answer = settled(repeat, first.idempotency_rows)
    assert answer.repeated_count == len(repeat.message_ids)
    assert {born for batch in answer.lanes.values() for born in batch.borns} == {NOW}
    assert placed(answer) == placed(settled(first))


def test_of_keys_of_their_own_each_adopts_its_own_birth() -> None:
    bodies = some_bodies(2)
    first = plan(make_chunk(bodies[:1], keys=[b"k1"]))
    both = plan(make_chunk(bodies, keys=[b"k1", b"k2"]), now=LATER)
    answer = settled(both, [first.idempotency_rows[0], both.idempotency_rows[1]])
    assert answer.repeated_count == 1, "only one of them was known"
    borns = {
        id_: born
        for batch in answer.lanes.values()
        for id_, born in zip(batch.message_ids, batch.borns, strict=True)
    }
    assert borns == {both.message_ids[0]: NOW, both.message_ids[1]: LATER}


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(make_chunk(some_bodies(2, content="bye")), id="another content"),
        pytest.param(make_chunk(some_bodies(1)), id="fewer messages"),
        pytest.param(make_chunk(some_bodies(2)[::-1]), id="another order"),
        pytest.param(make_chunk(some_bodies(2), positions=[0, 2]), id="other records"),
    ],
)
def test_a_batch_key_stands_for_one_content(other: SubmitChunk) -> None:
    first, second = plan(make_chunk()), plan(other, now=LATER)
    assert settle(second, first.idempotency_rows, generation=GENERATION, times=TIMES) == KeyTaken(
        [], NOW
    )


def test_keys_of_their_own_that_are_taken_are_named() -> None:
    bodies = some_bodies(3)
    first = plan(make_chunk(bodies, keys=[b"k0", b"k1", b"k2"]))
    changed = [bodies[0], *some_bodies(2, content="bye")]
    second = plan(make_chunk(changed, keys=[b"k0", b"k1", b"k2"]), now=LATER)
    answer = settle(second, first.idempotency_rows, generation=GENERATION, times=TIMES)
    assert answer == KeyTaken([1, 2], NOW)


def test_every_row_that_was_asked_for_is_compared() -> None:
    made = plan(make_chunk(keys=[b"k1", b"k2"]))
    with pytest.raises(ValueError, match="zip"):
        settle(made, made.idempotency_rows[:1], generation=GENERATION, times=TIMES)


# --- placement ------------------------------------------------------------------------------------


def test_a_lane_is_that_of_the_core_the_channel_and_the_band() -> None:
    submissions = [
        make_submission(channel=channel, recipient=recipient, priority=priority)
        for channel, recipient in (("sms", "+447700900000"), ("email", "a@example.com"))
        for priority in ("urgent", "normal", "bulk")
    ]
    chunk = make_chunk(bodies_of(submissions))
    made = plan(chunk)
    position_of = {id_: n for n, id_ in enumerate(made.message_ids)}
    for lane, batch in settled(made).lanes.items():
        assert lane.generation == GENERATION.number
        for id_ in batch.message_ids:
            submission = submissions[position_of[id_]]
            assert core_of(lane) == GENERATION.core_of(id_)
            assert lane.channel == submission.channel
            assert lane.band == band_of(tenant="acme", priority=submission.priority)


def test_rows_carry_what_their_message_is() -> None:
    chunk = make_chunk(some_bodies(20))
    made = plan(chunk)
    body_of = dict(zip(made.message_ids, chunk.bodies, strict=True))
    for batch in settled(made).lanes.values():
        for id_, pk, born, attempt, due_at, group in batch.buffer_entries():
            assert (pk, born, attempt) == (PartitionKey(id_), NOW, 1)
            assert (due_at, group) == (AT_ONCE, "acme/spring")
        assert [row[0] for row in batch.buffer_entries()] == list(batch.message_ids)
        for id_, pk, born, group, body in batch.message_rows():
            assert (pk, born, group) == (PartitionKey(id_), NOW, "acme/spring")
            assert body == body_of[id_]


def test_a_batch_that_lacks_a_column_is_a_mistake() -> None:
    batch = next(iter(settled(plan(make_chunk())).lanes.values()))
    with pytest.raises(ValueError, match="zip"):
        replace(batch, bodies=[]).message_rows()


submissions = st.builds(
    make_submission,
    st.text("xyz", min_size=1, max_size=3),
    channel=st.sampled_from(["sms", "push"]),
    group=st.sampled_from(["", "a", "b"]),
    priority=st.sampled_from(["urgent", "normal", "bulk"]),
)


@given(
    st.lists(submissions, min_size=1, max_size=60),
    st.sampled_from(["batch", "keys", "minted"]),
    st.integers(0, 2**20),
)
def test_nothing_is_lost_or_doubled_by_placement(
    asked: list[Submission], kind: str, seed: int
) -> None:
    bodies = bodies_of(asked)
    match kind:
        case "batch":
            chunk = make_chunk(bodies, batch_key=seed.to_bytes(4))
        case "keys":
            chunk = make_chunk(bodies, keys=[(seed + n).to_bytes(4) for n in range(len(bodies))])
        case _:
            chunk = make_chunk(bodies, batch_key=None)
    chance = b"".join((seed + n).to_bytes(10) for n in range(len(bodies)))
    made = plan(chunk, chance=chance)
    answer = settled(made)
    ids = [id_ for batch in answer.lanes.values() for id_ in batch.message_ids]
    assert Counter(ids) == Counter(made.message_ids)
    assert max(Counter(ids).values()) == 1
    assert placed(answer) == dict(zip(made.message_ids, bodies, strict=True))
    for lane, batch in answer.lanes.items():
        assert batch.message_ids, "a lane without messages"
        assert {core_of(lane)} == {GENERATION.core_of(id_) for id_ in batch.message_ids}
        assert len(batch.message_ids) == len(batch.buffer_entries()) == len(batch.message_rows())
        positions = [made.message_ids.index(id_) for id_ in batch.message_ids]
        assert positions == sorted(positions), "a lane keeps the order of what was asked"


# --- later ----------------------------------------------------------------------------------------


def test_a_repeat_of_what_is_due_later_has_the_body_of_the_first() -> None:
    asked = [make_submission(delay_ms=5_000), make_submission("at once")]
    chunk = make_chunk(bodies_of(asked))
    first = plan(chunk)
    again = settled(plan(chunk, now=LATER), first.idempotency_rows)
    bodies = placed(settled(first))
    assert placed(again) == bodies
    resolved = decode_body(bodies[first.message_ids[0]])
    assert resolved.due_at == later(NOW, 5_000)
    assert resolved.expires_at == later(NOW, 5_000 + Windows().validity_ms_max)
    assert bodies[first.message_ids[1]] == chunk.bodies[1], "the bytes of others are as they came"


# --- ordering keys --------------------------------------------------------------------------------


def keyed_in_order(*ordering_keys: str, tenant: str = "acme") -> SubmitChunk:
    return make_chunk(
        bodies_of(
            [
                make_submission(f"hello {n}", tenant=tenant, ordering_key=key)
                for n, key in enumerate(ordering_keys)
            ]
        ),
        tenant=tenant,
    )


def test_messages_that_share_an_ordering_key_share_a_lane_in_their_order() -> None:
    keys = [f"account {n % 7}" for n in range(200)]
    lanes = settled(plan(keyed_in_order(*keys))).lanes
    found: dict[PartitionKey, list[MessageId]] = {}
    for lane, batch in lanes.items():
        rows = zip(batch.message_rows(), batch.buffer_entries(), strict=True)
        for (id_, pk, *_), entry in rows:
            assert entry[:2] == (id_, pk)
            assert core_of(lane) == GENERATION.core_of(pk)
            found.setdefault(pk, []).append(id_)
    ids = plan(keyed_in_order(*keys)).message_ids
    assert sorted(found.values()) == sorted([list(ids[n::7]) for n in range(7)])


def test_an_ordering_key_is_of_its_tenant_and_not_an_id() -> None:
    def pk_of(tenant: str, key: str) -> PartitionKey:
        (batch,) = settled(plan(keyed_in_order(key, tenant=tenant))).lanes.values()
        return batch.keys[0]

    assert pk_of("acme", "a") == pk_of("acme", "a") == ordering_pk(tenant="acme", ordering_key="a")
    assert len({pk_of("acme", "a"), pk_of("acme", "b"), pk_of("ac", "mea"), pk_of("b", "a")}) == 4
    assert is_ordered(pk_of("acme", "a"), keyed_id(tenant="acme", key=b"a"))


def test_messages_without_an_ordering_key_stay_where_their_ids_are() -> None:
    lanes = settled(plan(keyed_in_order("", "a", "", "b"))).lanes
    ids = plan(keyed_in_order("", "a", "", "b")).message_ids
    pks = {id_: pk for batch in lanes.values() for id_, pk, *_ in batch.message_rows()}
    assert [is_ordered(pks[id_], id_) for id_ in ids] == [False, True, False, True]
    plain = settled(plan(make_chunk(some_bodies(50)))).lanes.values()
    assert all(batch.partition_keys is None for batch in plain)


def test_another_ordering_key_under_the_same_key_is_another_content() -> None:
    first = plan(keyed_in_order("a"))
    answer = settle(
        plan(keyed_in_order("b")), first.idempotency_rows, generation=GENERATION, times=TIMES
    )
    assert isinstance(answer, KeyTaken)
