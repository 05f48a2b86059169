"""What a successor reads back, page by page, and what it makes of open claims."""

from collections.abc import Sequence

import pytest

from pipeline.instant import Instant
from pipeline.lane.entry import Checkpoint, Entry, encode_entry
from pipeline.lane.recovery import JournalReadBack, Recovered
from pipeline.lifecycle import Event, Step, step_of
from pipeline.message import MessageId, PartitionKey
from pipeline.ports import JournalEntry

FIRST_OFFSET = Instant(77)
CLAIM, NOT_SENT, TAKE = (
    step_of(attempt=1, try_no=1, event=event) for event in (Event.CLAIM, Event.NOT_SENT, Event.TAKE)
)
CLAIM_2 = step_of(attempt=1, try_no=2, event=Event.CLAIM)


def id_of(name: str) -> MessageId:
    return MessageId(name.encode() * 16)


def entry(
    lines: dict[str, Step] | None = None,
    *,
    retired_through: int | None = None,
    partition_keys: dict[int, PartitionKey] | None = None,
    groups: Sequence[str] | None = None,
) -> Entry:
    names = list(lines or {})
    return Entry(
        at=Instant(1_000),
        connector="file",
        message_ids=[id_of(name) for name in names],
        steps=list((lines or {}).values()),
        events_before=[0] * len(names),
        borns=[Instant(ord(name)) for name in names],
        groups=groups or ["acme/g"] * len(names),
        partition_keys=partition_keys or {},
        details={},
        checkpoint=(
            None
            if retired_through is None
            else Checkpoint(offset=Instant(5_000), retired_through=retired_through)
        ),
    )


def read_back(
    journal: Sequence[Entry], *, limit: int, first_seq: int = 0, segments: Sequence[int] = ()
) -> Recovered:
    """Read a journal as a runner does; checks that no more is read than must be.

    `segments`: the seqs that are the first of theirs; the last may not be there yet.
    """
    reading = JournalReadBack(newest_segment=len(segments), first_offset=FIRST_OFFSET)
    entries = [JournalEntry(first_seq + n, encode_entry(entry)) for n, entry in enumerate(journal)]
    newest = next((one.checkpoint for one in reversed(journal) if one.checkpoint), None)
    bounds = [0, *segments, 1 << 60]
    for _ in range(10_000):
        if reading.is_complete:
            break
        before = reading.before_seq
        held = range(bounds[reading.segment], bounds[reading.segment + 1])
        in_segment = [entry for entry in reversed(entries) if entry.seq in held]
        if newest is not None and in_segment:
            assert in_segment[0].seq > newest.retired_through, "read, though all of it retired"
        older = [entry for entry in in_segment if before is None or entry.seq < before]
        reading.on_entries(older[:limit], limit=limit)
    assert reading.is_complete, "it reads for ever"
    return reading.result()


@pytest.mark.parametrize("limit", [1, 2, 3, 256])
class TestReadBack:
    def test_an_empty_journal_begins_at_the_first_offset(self, limit: int) -> None:
        recovered = read_back([], limit=limit)
        assert (recovered.next_seq, recovered.offset) == (0, FIRST_OFFSET)
        assert (recovered.retired_through, list(recovered.entries)) == (-1, [])

    def test_without_a_checkpoint_all_is_read(self, limit: int) -> None:
        journal = [entry({name: CLAIM}) for name in "abcde"]
        recovered = read_back(journal, limit=limit)
        assert list(recovered.entries) == list(enumerate(journal))
        assert (recovered.next_seq, recovered.offset) == (5, FIRST_OFFSET)
        assert recovered.retired_through == -1

    @pytest.mark.parametrize("retired_through", [-1, 0, 1, 2, 3])
    def test_nothing_that_has_retired_is_needed(self, limit: int, retired_through: int) -> None:
        journal = [entry({name: CLAIM}) for name in "abcd"]
        journal[3] = entry({"d": CLAIM}, retired_through=min(retired_through, 2))
        journal.append(entry({"e": CLAIM}))
        recovered = read_back(journal, limit=limit)
        first = min(retired_through, 2) + 1
        assert list(recovered.entries) == list(enumerate(journal))[first:]
        assert (recovered.next_seq, recovered.offset) == (5, Instant(5_000))
        assert recovered.retired_through == first - 1

    def test_the_newest_checkpoint_counts(self, limit: int) -> None:
        journal = [
            entry({"a": CLAIM}),
            entry(retired_through=-1),
            entry({"b": CLAIM}),
            entry(retired_through=1),
            entry({"c": CLAIM}),
        ]
        recovered = read_back(journal, limit=limit)
        assert list(recovered.entries) == list(enumerate(journal))[2:]
        assert recovered.retired_through == 1

    def test_what_aged_out_is_not_missed(self, limit: int) -> None:
        journal = [entry({"x": TAKE}, retired_through=40), entry({"y": CLAIM})]
        recovered = read_back(journal, limit=limit, first_seq=41)
        assert [seq for seq, _ in recovered.entries] == [41, 42]
        assert recovered.next_seq == 43

    @pytest.mark.parametrize("retired_through", range(-1, 6))
    @pytest.mark.parametrize("segments", [[1], [2, 4], [2, 4, 6], [2, 4, 6, 8], [7], [8]])
    def test_all_that_is_un_retired_is_read_across_segments(
        self, limit: int, segments: list[int], retired_through: int
    ) -> None:
        journal = [entry({name: CLAIM}) for name in "abcdefgh"]
        journal[6] = entry({"g": CLAIM}, retired_through=retired_through)
        recovered = read_back(journal, limit=limit, segments=segments)
        assert list(recovered.entries) == list(enumerate(journal))[retired_through + 1 :]
        assert recovered.next_seq == 8
        assert recovered.retired_through == retired_through
        assert recovered.is_segment_new is (segments[-1] == 8)

    def test_without_a_checkpoint_all_segments_are_read(self, limit: int) -> None:
        journal = [entry({name: CLAIM}) for name in "abcdef"]
        recovered = read_back(journal, limit=limit, segments=[1, 4, 6])
        assert list(recovered.entries) == list(enumerate(journal))
        assert recovered.is_segment_new

    def test_segments_that_aged_out_are_not_looked_at(self, limit: int) -> None:
        journal = [entry({"x": TAKE}, retired_through=40), entry({"y": CLAIM})]
        recovered = read_back(journal, limit=limit, first_seq=41, segments=[10, 20, 30, 42])
        assert [seq for seq, _ in recovered.entries] == [41, 42]

    def test_a_checkpoint_through_its_predecessor_leaves_itself(self, limit: int) -> None:
        journal = [entry({"a": TAKE}), entry(retired_through=0)]
        recovered = read_back(journal, limit=limit)
        assert list(recovered.entries) == [(1, journal[1])]
        assert recovered.next_seq == 2


def test_the_result_is_not_there_before_all_was_read() -> None:
    reading = JournalReadBack(newest_segment=0, first_offset=FIRST_OFFSET)
    reading.on_entries([JournalEntry(1, encode_entry(entry({"a": CLAIM})))], limit=1)
    assert not reading.is_complete
    assert reading.before_seq == 1
    with pytest.raises(AssertionError):
        reading.result()


# --- open claims ----------------------------------------------------------------------------------


def open_claims(*journal: Entry, first_seq: int = 0) -> list[tuple[int, list[str]]]:
    recovered = Recovered(
        next_seq=first_seq + len(journal),
        offset=FIRST_OFFSET,
        retired_through=first_seq - 1,
        entries=list(enumerate(journal, start=first_seq)),
    )
    return [
        (window.seq, [id_.decode()[0] for id_ in window.message_ids])
        for window in recovered.open_claims()
    ]


@pytest.mark.parametrize(
    ("journal", "expected"),
    [
        pytest.param([], [], id="nothing"),
        pytest.param([{"a": CLAIM, "b": CLAIM}], [(0, ["a", "b"])], id="all of them"),
        pytest.param(
            [{"a": CLAIM, "b": CLAIM}, {"a": TAKE}], [(0, ["b"])], id="not what has an outcome"
        ),
        pytest.param([{"a": CLAIM}, {"a": NOT_SENT}], [], id="not what was not sent"),
        pytest.param(
            [{"a": CLAIM}, {"a": NOT_SENT}, {"a": CLAIM_2}],
            [(2, ["a"])],
            id="but what was claimed again",
        ),
        pytest.param(
            [{"a": CLAIM}, {"b": CLAIM}, {"a": CLAIM}],
            [(1, ["b"]), (2, ["a"])],
            id="what was named again belongs to the newer entry",
        ),
        pytest.param(
            [{"a": CLAIM}, {"a": CLAIM}, {"a": TAKE}], [], id="its outcome ends both namings"
        ),
        pytest.param(
            [{"a": step_of(attempt=1, try_no=1, event=Event.EXPIRE)}], [], id="not a decision"
        ),
    ],
)
def test_open_claims_are_those_whose_last_line_is_a_claim(
    journal: list[dict[str, Step]], expected: list[tuple[int, list[str]]]
) -> None:
    assert open_claims(*(entry(lines) for lines in journal)) == expected


def test_the_window_of_open_claims_has_all_that_their_outcomes_need() -> None:
    journal = entry(
        {"a": TAKE, "b": CLAIM, "c": CLAIM},
        partition_keys={2: PartitionKey(b"k" * 16)},
        groups=["acme/x", "acme/y", "acme/z"],
    )
    recovered = Recovered(
        next_seq=8, offset=FIRST_OFFSET, retired_through=6, entries=[(7, journal)]
    )
    (window,) = recovered.open_claims()
    assert window.seq == window.named_seq == 7
    assert list(window.message_ids) == [id_of("b"), id_of("c")]
    assert list(window.partition_keys) == [PartitionKey(id_of("b")), b"k" * 16]
    assert list(window.borns) == [ord("b"), ord("c")]
    assert list(window.groups) == ["acme/y", "acme/z"]
    assert list(window.steps) == [CLAIM, CLAIM]
    with pytest.raises(AssertionError, match="only an owner's own claims"):
        window.hand_over()
