"""The bytes of one append."""

from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.instant import Instant
from pipeline.lane.entry import (
    FORMAT_VERSION,
    Checkpoint,
    CommandAnswer,
    Entry,
    EntryBuilder,
    EntryUnreadable,
    decode_entry,
    encode_entry,
)
from pipeline.lane.past import Past
from pipeline.lifecycle import Event, step_of
from pipeline.message import MessageId, PartitionKey

AT = Instant(1_700_000_000_000_000)
ID_A, ID_B = MessageId(b"a" * 16), MessageId(b"b" * 16)
KEY_A, KEY_B = PartitionKey(ID_A), PartitionKey(ID_B)
CLAIM = step_of(attempt=1, try_no=1, event=Event.CLAIM)
TAKE = step_of(attempt=1, try_no=1, event=Event.TAKE)

GOLDEN = Entry(
    at=AT,
    connector="file",
    message_ids=[ID_A, ID_B],
    steps=[CLAIM, TAKE],
    events_before=[0, 1],
    borns=[Instant(AT - 1), AT],
    groups=["acme/x", "acme/y"],
    partition_keys={1: PartitionKey(b"k" * 16)},
    details={1: "ref 7"},
    checkpoint=Checkpoint(offset=Instant(AT - 2), retired_through=41),
)
GOLDEN_BYTES = bytes.fromhex(
    "9c01cf00060a24181e4000a466696c65c42061616161616161616161616161616161626262626262626262626262"
    "62626262c4080101000105010001c4020001c410ff3f1e18240a060000401e18240a060092a661636d652f78a661"
    "636d652f79c404000001008101c4106b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b8101a5726566203792cf00060a2418"
    "1e3ffe29"
)

int64s = st.integers(min_value=-(1 << 63), max_value=(1 << 63) - 1)
ids = st.binary(min_size=16, max_size=16)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
names = st.from_regex(r"[a-z][a-z0-9_]{0,3}", fullmatch=True)
pasts = st.builds(Past, st.lists(names, max_size=3).map(tuple), st.integers(0, 254))


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    count = draw(st.integers(min_value=0, max_value=20))

    def column(values: st.SearchStrategy[object]) -> st.SearchStrategy[list[object]]:
        return st.lists(values, min_size=count, max_size=count)

    positions = st.integers(min_value=0, max_value=count - 1) if count else st.nothing()
    return Entry(
        at=draw(int64s),  # type: ignore[arg-type]
        connector=draw(texts),
        message_ids=draw(column(ids)),  # type: ignore[arg-type]
        steps=draw(column(st.integers(0, (1 << 32) - 1))),  # type: ignore[arg-type]
        events_before=draw(column(st.integers(0, 255))),  # type: ignore[arg-type]
        borns=draw(column(int64s)),  # type: ignore[arg-type]
        groups=draw(column(texts)),  # type: ignore[arg-type]
        partition_keys=draw(st.dictionaries(positions, ids)),  # type: ignore[arg-type]
        details=draw(st.dictionaries(positions, texts)),
        references=draw(st.dictionaries(positions, texts)),
        checkpoint=draw(
            st.none()
            | st.builds(
                Checkpoint,
                offset=int64s,
                retired_through=st.integers(-1, 1 << 62),
                timer_cursor=int64s,
                command_cursor=int64s,
                starts=st.integers(0, 100),
            )
        ),
        answers=tuple(
            draw(
                st.lists(
                    st.builds(
                        CommandAnswer, ids, texts, texts, st.dictionaries(texts, st.integers(0, 9))
                    )
                )
            )
        ),
        reason=draw(texts),
        pasts=draw(st.dictionaries(positions, pasts)),
    )


@given(entries())
def test_what_is_encoded_is_decoded(entry: Entry) -> None:
    body = encode_entry(entry)
    assert decode_entry(body) == entry
    assert encode_entry(decode_entry(body)) == body


def test_the_bytes_never_change() -> None:
    """Journals are read back by later releases."""
    assert encode_entry(GOLDEN).hex() == GOLDEN_BYTES.hex()
    assert decode_entry(GOLDEN_BYTES) == GOLDEN


def test_one_group_is_written_once() -> None:
    alike = [ID_A] * 1_000
    entry = EntryBuilder()
    entry.add_lines(
        message_ids=alike,
        partition_keys=[PartitionKey(id_) for id_ in alike],
        steps=[CLAIM] * 1_000,
        events_before=[0] * 1_000,
        borns=[AT] * 1_000,
        groups=["acme/" + "g" * 100] * 1_000,
        details={},
    )
    assert len(encode_entry(entry.build(at=AT, connector="file", checkpoint=None))) < 29_300


def test_an_entry_of_a_newer_release_names_the_release_to_run() -> None:
    fields = msgspec.msgpack.decode(GOLDEN_BYTES)
    newer = msgspec.msgpack.encode([FORMAT_VERSION + 1, *fields[1:], "a new field"])
    with pytest.raises(EntryUnreadable, match=r"format 2, this release reads 1"):
        decode_entry(newer)


def test_a_field_that_is_added_at_the_end_is_passed_over() -> None:
    newest = replace(GOLDEN, references={1: "ref-7"}, reason="why", editions={1: AT})
    fields = msgspec.msgpack.decode(encode_entry(newest), type=list[object])
    assert decode_entry(msgspec.msgpack.encode([*fields, {}, "a new field"])) == newest


DAMAGED = [
    pytest.param(b"", id="nothing"),
    pytest.param(GOLDEN_BYTES[:-1], id="its end is missing"),
    pytest.param(GOLDEN_BYTES[:40], id="most of it is missing"),
    pytest.param(GOLDEN_BYTES + b"\0", id="something follows"),
    pytest.param(b"\xff" * 100, id="other bytes"),
    pytest.param(msgspec.msgpack.encode([]), id="an empty list"),
    pytest.param(msgspec.msgpack.encode(7), id="a number"),
    pytest.param(msgspec.msgpack.encode({"version": 1}), id="a map"),
    pytest.param(msgspec.msgpack.encode([1, "then"]), id="fields of other types"),
]


@pytest.mark.parametrize("body", DAMAGED)
def test_damaged_bytes_are_told_as_such(body: bytes) -> None:
    with pytest.raises(EntryUnreadable):
        decode_entry(body)


def changed(**columns: object) -> bytes:
    names = [
        "version", "at", "connector", "message_ids", "steps", "events_before", "borns", "groups",
        "group_numbers", "partition_keys", "details", "checkpoint",
    ]  # fmt: skip
    fields = dict(zip(names, msgspec.msgpack.decode(GOLDEN_BYTES), strict=True)) | columns
    return msgspec.msgpack.encode([fields[name] for name in names])


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(changed(steps=b"\0" * 4), id="a step is missing"),
        pytest.param(changed(steps=b"\0" * 9), id="a step is torn"),
        pytest.param(changed(events_before=b"\0"), id="an event is missing"),
        pytest.param(changed(borns=b"\0" * 8), id="a birth is missing"),
        pytest.param(changed(message_ids=b"\0" * 31), id="an id is torn"),
        pytest.param(changed(groups=["acme/x"]), id="a group is missing"),
        pytest.param(changed(group_numbers=b"\0\0"), id="the number of a group is missing"),
        pytest.param(changed(group_numbers=b""), id="all numbers of groups are missing"),
        pytest.param(changed(groups=[], group_numbers=b""), id="all groups are missing"),
    ],
)
def test_columns_that_do_not_fit_together_are_told_as_damage(body: bytes) -> None:
    with pytest.raises(EntryUnreadable):
        decode_entry(body)


# --- what it is used for --------------------------------------------------------------------------


def test_lines_that_are_added_later_keep_their_keys_and_details() -> None:
    builder = EntryBuilder()
    for id_, detail in ((ID_A, "first"), (ID_B, "second")):
        builder.add_lines(
            message_ids=[id_],
            partition_keys=[PartitionKey(b"k" + id_[1:])],
            steps=[CLAIM],
            events_before=[0],
            borns=[AT],
            groups=["acme/x"],
            details={0: detail},
        )
    assert len(builder) == 2
    entry = builder.build(at=AT, connector="file", checkpoint=None)
    assert [entry.key_at(0), entry.key_at(1)] == [b"k" + ID_A[1:], b"k" + ID_B[1:]]
    assert entry.details == {0: "first", 1: "second"}


def test_a_partition_key_is_stored_only_where_it_is_not_the_id() -> None:
    builder = EntryBuilder()
    builder.add_lines(
        message_ids=[ID_A, ID_B],
        partition_keys=[KEY_A, KEY_A],
        steps=[CLAIM, CLAIM],
        events_before=[0, 0],
        borns=[AT, AT],
        groups=["acme/x"] * 2,
        details={},
    )
    entry = builder.build(at=AT, connector="file", checkpoint=None)
    assert entry.partition_keys == {1: KEY_A}
    assert [entry.key_at(0), entry.key_at(1)] == [KEY_A, KEY_A]


def test_an_entry_is_projected_as_one_row_for_each_line() -> None:
    assert GOLDEN.timeline_rows() == [
        (ID_A, KEY_A, CLAIM, AT, "file"),
        (ID_B, b"k" * 16, TAKE, AT, "ref 7"),
    ]


def test_without_details_the_connector_is_told() -> None:
    entry = decode_entry(changed(details={}, partition_keys={}))
    assert entry.timeline_rows() == [
        (ID_A, KEY_A, CLAIM, AT, "file"),
        (ID_B, KEY_B, TAKE, AT, "file"),
    ]
