"""The books of a lane: signed counts from entries, and cells that cannot be rolled back."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.instant import Instant
from pipeline.lane import books as books_module
from pipeline.lane.books import (
    Counts,
    LaneBooks,
    day_book,
    day_of,
    decode_counts,
    encode_counts,
    group_book,
    tally_of,
)
from pipeline.lane.entry import NOT_NAMED, Entry
from pipeline.lifecycle import Event, MessageState, step_of
from pipeline.message import MessageId
from pipeline.ports import BookCell

_S = MessageState
DAY_US = 24 * 3600 * 1_000_000


def entry(*lines: tuple[str, int, Event | None, Event]) -> Entry:
    """Return an entry of (group, born, event before, event) lines."""
    return Entry(
        at=Instant(0),
        connector="file",
        message_ids=[MessageId(n.to_bytes(16)) for n in range(len(lines))],
        steps=[step_of(attempt=3, try_no=2, event=event) for *_, event in lines],
        events_before=[NOT_NAMED if before is None else before for _, _, before, _ in lines],
        borns=[Instant(born) for _, born, _, _ in lines],
        groups=[group for group, *_ in lines],
        partition_keys={},
        details={},
        checkpoint=None,
    )


def counts(**states: int) -> Counts:
    return Counter({MessageState(state): count for state, count in states.items()})


def cell(book: str, as_of: int, **states: int) -> BookCell:
    return BookCell(book, as_of, encode_counts(counts(**states)))


# --- what an entry adds ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "event", "expected"),
    [
        pytest.param(None, Event.CLAIM, {"claimed": 1}, id="enters with its first line"),
        pytest.param(None, Event.EXPIRE, {"expired": 1}, id="enters as expired"),
        pytest.param(Event.CLAIM, Event.TAKE, {"claimed": -1, "sent": 1}, id="moves"),
        pytest.param(Event.CLAIM, Event.NOT_SENT, {"claimed": -1, "waiting": 1}, id="waits"),
        pytest.param(Event.NOT_SENT, Event.CLAIM, {"waiting": -1, "claimed": 1}, id="again"),
        pytest.param(Event.CLAIM, Event.CLAIM, {"claimed": 0}, id="named again: counts nothing"),
    ],
)
def test_a_line_moves_a_message(
    before: Event | None, event: Event, expected: dict[str, int]
) -> None:
    tally = tally_of(entry(("acme/x", 0, before, event)))
    assert tally == {
        "group:acme/x": counts(**expected),
        "day:acme/1970-01-01": counts(**expected),
    }


def test_each_group_has_a_book_and_each_day_of_a_tenant() -> None:
    tally = tally_of(
        entry(
            ("acme/x", DAY_US - 1, None, Event.CLAIM),
            ("acme/y", DAY_US, None, Event.CLAIM),
            ("acme/y", DAY_US, None, Event.CLAIM),
            ("other/x", DAY_US, None, Event.CLAIM),
        )
    )
    assert {book: counts[_S.CLAIMED] for book, counts in tally.items()} == {
        "group:acme/x": 1,
        "group:acme/y": 2,
        "group:other/x": 1,
        "day:acme/1970-01-01": 1,
        "day:acme/1970-01-02": 2,
        "day:other/1970-01-02": 1,
    }


def test_names_of_books_never_change() -> None:
    assert group_book("acme/x") == "group:acme/x"
    assert day_book("acme", day_of(Instant(1_700_000_000_000_000))) == "day:acme/2023-11-14"


def test_counts_have_one_form_without_zeros() -> None:
    assert encode_counts(counts(sent=2, claimed=0, failed=1)) == b'{"failed":1,"sent":2}'
    assert decode_counts(b'{"failed":1,"sent":2}') == counts(failed=1, sent=2)


# --- reading and writing --------------------------------------------------------------------------

A, B = "group:a", "group:b"


def ready(*books: str) -> LaneBooks:
    """Return books whose cells were read and found missing."""
    made = LaneBooks()
    made.apply(0, {book: counts() for book in books})
    made.take_unread()
    made.on_read([])
    made.take_cells()
    made.on_written()
    return made


def written(books: LaneBooks) -> dict[str, tuple[int, Counts]]:
    return {cell.book: (cell.as_of, decode_counts(cell.counts)) for cell in books.take_cells()}


def test_a_book_is_written_only_after_its_cell_was_read() -> None:
    books = LaneBooks()
    books.apply(0, {A: counts(sent=1)})
    assert not books.take_cells()
    assert books.take_unread() == (A,)
    assert not books.take_cells()
    books.on_read([])
    assert written(books) == {A: (0, counts(sent=1))}


@pytest.mark.parametrize(
    ("as_of", "added"),
    [
        pytest.param(-1, 1 + 2 + 4, id="none of them"),
        pytest.param(0, 2 + 4, id="the first"),
        pytest.param(1, 2 + 4, id="and what did not name the book"),
        pytest.param(2, 4, id="the second"),
        pytest.param(3, 0, id="all of them"),
        pytest.param(9, 0, id="more than all: a zombie was faster"),
    ],
)
def test_a_cell_from_before_has_counted_entries_up_to_its_as_of(as_of: int, added: int) -> None:
    books = LaneBooks()
    for seq, sent in ((0, 1), (2, 2), (3, 4)):
        books.apply(seq, {A: counts(sent=sent)})
    books.take_unread()
    books.on_read([cell(A, as_of, sent=100)])
    assert written(books)[A] == (3, counts(sent=100 + added))


def test_what_comes_while_the_cell_is_read_is_counted_once() -> None:
    books = LaneBooks()
    books.apply(5, {A: counts(sent=1)})
    books.take_unread()
    books.apply(6, {A: counts(sent=1), B: counts(sent=1)})
    assert books.take_unread() == ()
    books.on_read([cell(A, 5, sent=100)])
    assert written(books) == {A: (6, counts(sent=101))}
    assert books.take_unread() == (B,)


def test_a_read_that_failed_is_asked_for_again() -> None:
    books = LaneBooks()
    books.apply(0, {A: counts(sent=1)})
    books.take_unread()
    books.on_read_failed()
    assert books.take_unread() == (A,)


def test_cells_are_frozen_and_one_write_is_under_way() -> None:
    books = ready(A)
    books.apply(1, {A: counts(sent=1)})
    cells = books.take_cells()
    books.apply(2, {A: counts(sent=1)})
    assert [decode_counts(cell.counts) for cell in cells] == [counts(sent=1)]
    assert not books.take_cells()
    books.on_written()
    assert written(books) == {A: (2, counts(sent=2))}


def test_a_write_that_failed_is_made_again_with_what_came_since() -> None:
    books = ready(A, B)
    books.apply(1, {A: counts(sent=1), B: counts(sent=1)})
    books.take_cells()
    books.apply(2, {A: counts(sent=1)})
    books.on_write_failed()
    assert written(books) == {A: (2, counts(sent=2)), B: (2, counts(sent=1))}


def test_only_books_that_changed_are_written() -> None:
    books = ready(A, B)
    books.apply(1, {B: counts(sent=1)})
    assert written(books) == {B: (1, counts(sent=1))}
    books.on_written()
    assert books.is_settled
    assert not books.take_cells()


# --- what retirement may rely on ------------------------------------------------------------------


def test_an_entry_is_written_through_once_its_cells_are_acknowledged() -> None:
    books = ready(A)
    assert books.written_through == 0
    books.apply(1, {A: counts(sent=1)})
    assert books.written_through == 0
    books.take_cells()
    books.apply(2, {A: counts(sent=1)})
    assert books.written_through == 0
    books.on_written()
    assert books.written_through == 1
    books.take_cells()
    books.on_write_failed()
    assert books.written_through == 1


def test_a_book_whose_cell_was_not_read_holds_what_names_it() -> None:
    books = ready(A)
    books.apply(1, {A: counts(sent=1)})
    books.apply(2, {A: counts(sent=1), B: counts(sent=1)})
    books.apply(3, {A: counts(sent=1)})
    books.take_cells()
    books.on_written()
    assert books.written_through == 1
    books.take_unread()
    books.on_read([])
    books.take_cells()
    books.on_written()
    assert books.written_through == 3


def test_an_entry_that_counts_nothing_is_written_through_at_once() -> None:
    books = ready(A)
    books.apply(1, {})
    assert books.written_through == 1


def test_an_entry_that_counts_nothing_does_not_hide_one_that_does() -> None:
    books = ready(A)
    books.apply(1, {A: counts(sent=1)})
    books.apply(2, {})
    assert books.written_through == 0


# --- forgetting -----------------------------------------------------------------------------------


@pytest.fixture
def _few_books(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(books_module, "BOOKS_IN_MEMORY_MAX", 4)


@pytest.mark.usefixtures("_few_books")
def test_books_beyond_the_limit_are_forgotten_and_read_again() -> None:
    names = [f"group:{n}" for n in range(6)]
    books = ready(*names)
    books.apply(1, {name: counts(sent=1) for name in names})
    assert set(books.take_unread()) == set(names[:2])
    books.on_read([cell(name, 0) for name in names[:2]])
    assert written(books) == {name: (1, counts(sent=1)) for name in names}


@pytest.mark.usefixtures("_few_books")
def test_a_book_that_changed_while_it_was_written_is_not_forgotten() -> None:
    names = [f"group:{n}" for n in range(6)]
    books = LaneBooks()
    books.apply(0, {name: counts(sent=1) for name in names})
    books.take_unread()
    books.on_read([])
    books.take_cells()
    books.apply(1, {name: counts(sent=1) for name in names[:5]})
    books.on_written()
    assert not books.take_unread()
    assert written(books) == {name: (1, counts(sent=2)) for name in names[:5]}


@pytest.mark.usefixtures("_few_books")
@given(st.data())
def test_cells_tell_the_truth_whatever_comes_between(data: st.DataObject) -> None:
    """Against a model: a store that keeps the highest as_of, and owners that follow each other."""
    store: dict[str, BookCell] = {}
    journal: list[dict[str, Counts]] = []
    truth: dict[str, Counts] = {}
    books = LaneBooks()
    under_way: list[BookCell] = []
    asked: tuple[str, ...] = ()
    names = [f"group:{n}" for n in range(7)]

    def land(cells: list[BookCell]) -> None:
        for written in cells:
            if written.as_of > store.get(written.book, written._replace(as_of=-1)).as_of:
                store[written.book] = written

    steps = data.draw(
        st.lists(
            st.sampled_from(["apply", "read", "answer", "write", "land", "fail", "lost", "next"]),
            max_size=40,
        )
    )
    for step in [*steps, "next", *["read", "answer", "write", "land"] * 3]:
        match step:
            case "apply":
                chosen = data.draw(st.sets(st.sampled_from(names), max_size=4))
                journal.append({name: counts(sent=1) for name in chosen})
                for name in chosen:
                    truth.setdefault(name, Counter()).update(counts(sent=1))
                books.apply(len(journal) - 1, journal[-1])
            case "read" if not asked:
                asked = tuple(books.take_unread())
            case "answer" if asked:
                books.on_read([store[name] for name in asked if name in store])
                asked = ()
            case "write" if not under_way:
                under_way = list(books.take_cells())
            case "land" if under_way:
                land(under_way)
                books.on_written()
                under_way = []
            case "fail" | "lost" if under_way:
                if step == "lost":
                    land(under_way)
                books.on_write_failed()
                under_way = []
            case "next":
                # A successor; what its predecessor was writing may land now, or never.
                retired = books.written_through
                books, asked, zombie, under_way = LaneBooks(), (), under_way, []
                for seq in range(retired + 1, len(journal)):
                    books.apply(seq, journal[seq])
                if data.draw(st.booleans()):
                    land(zombie)
            case _:
                pass
        for name in names:
            known = decode_counts(store[name].counts) if name in store else Counter()
            reached = max(books.written_through, store[name].as_of if name in store else -1)
            counted = sum(name in tally for tally in journal[: reached + 1])
            assert known.total() == counted
    assert {name: decode_counts(store[name].counts) for name in truth} == truth
