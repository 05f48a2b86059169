"""When the offset moves, when entries retire, and what a row below the offset is worth."""

from itertools import pairwise

import pytest

from pipeline.instant import Instant, later
from pipeline.lane import actions as act
from pipeline.lane.entry import Checkpoint, decode_entry
from tests.support.lane_story import NOW, WINDOWS, LaneStory, fresh

PROMPT_MS = WINDOWS.prompt_ms


def checkpoint_of(story: LaneStory) -> Checkpoint | None:
    entry = story.entry
    return None if entry is None else entry.checkpoint


def checkpoints(story: LaneStory) -> list[tuple[int, Checkpoint]]:
    found = [(seq, decode_entry(body).checkpoint) for seq, body in story.journal]
    return [(seq, checkpoint) for seq, checkpoint in found if checkpoint is not None]


def idle(story: LaneStory, *, rounds: int = 5) -> LaneStory:
    """Let seconds pass in which nothing comes, and all that is asked for is answered."""
    for _ in range(rounds):
        story.tell("+1000 row settle +250 settle")
    return story


def next_read(story: LaneStory) -> act.ReadRows:
    return story.tell("+1000 READ").asked_for(act.ReadRows)


# --- the offset -----------------------------------------------------------------------------------


def test_the_offset_is_that_of_a_journaled_checkpoint_not_of_one_in_flight() -> None:
    story = LaneStory().tell("ring:a applied row:a settle took +250")
    before = story.lane.offset
    story.tell("SAYS:a=TAKE applied +1000 row")
    checkpoint = checkpoint_of(story)
    assert checkpoint is not None
    assert checkpoint.offset > before
    assert story.lane.offset == before
    story.tell("applied")
    assert story.lane.offset == checkpoint.offset


@pytest.mark.parametrize(
    "until_it_waits",
    [
        pytest.param("row:a,b BODIES:a,b", id="for its body"),
        pytest.param("ring:a CLAIM:a row:a", id="for the answer to its claim"),
        pytest.param("ring:a applied row:a HAND:a", id="for the provider"),
        pytest.param("ring:a applied unsent row:a applied", id="to be claimed again"),
        pytest.param("born:a +3001 row:a FOLDS:a", id="for its fold"),
        pytest.param("ring:w,x,y,z,a applied row:w,x,y,z,a WAITING:1", id="for room"),
    ],
)
def test_a_row_that_waits_holds_the_offset(until_it_waits: str) -> None:
    story = LaneStory().tell(until_it_waits)
    stored_at = story.now
    story.tell("+99 settle")
    for _ in range(5):
        story.pass_time(1_000)
        if story.lane.open_count + story.lane.backlog_count < 4:
            story.tell("row")
        story.tell("settle")
    assert story.lane.offset <= stored_at


@pytest.mark.parametrize(
    "until_it_is_resolved",
    [
        pytest.param("ring:a applied row:a took applied", id="it was taken"),
        pytest.param("ring:a applied row:a refused applied", id="it was refused"),
        pytest.param("ring:a applied row:a lost applied", id="its answer was lost"),
        pytest.param("expiring:a=0 row:a bodies:a SAYS:a=EXPIRE applied", id="it expired"),
        pytest.param("born:a +3001 row:a folds:a=TAKE", id="its fold says so"),
        pytest.param("ring:a applied took applied row:a", id="it was, before it was read"),
    ],
)
def test_a_row_that_is_resolved_holds_it_no_longer(until_it_is_resolved: str) -> None:
    story = LaneStory().tell(until_it_is_resolved)
    stored_at = story.now
    assert idle(story).lane.offset > stored_at


def test_a_checkpoint_counts_the_outcomes_of_its_own_body() -> None:
    story = LaneStory().tell("ring:a applied row:a settle +1000 row settle")
    read_through = story.now
    story.tell("+250 NOAPPEND took SAYS:a=TAKE")
    checkpoint = checkpoint_of(story)
    assert checkpoint is not None
    assert checkpoint.offset == read_through


def test_a_checkpoint_does_not_count_what_ends_after_it() -> None:
    story = LaneStory().tell("ring:a applied ring:b applied born:b")
    story.answer_read([story.row("a"), story.row("b", at=later(NOW, 10))])
    story.tell("took applied settle +1000 NOCLAIM took")
    checkpoint = checkpoint_of(story)
    assert checkpoint is not None
    assert checkpoint.offset == NOW + 10_000


def test_the_offset_follows_the_pages_that_were_read_no_further() -> None:
    story = LaneStory().tell("ring:a applied took applied settle +1000")
    story.answer_read([story.row("a", at=later(NOW, 10))], resume=b"more", through=later(NOW, 20))
    story.tell("settle")
    assert story.lane.offset == later(NOW, 10)


def test_the_offset_goes_to_the_horizon_of_a_read_that_ended() -> None:
    story = LaneStory().tell("ring:a applied took applied settle +1000")
    story.answer_read([story.row("a", at=later(NOW, 10))], through=later(NOW, 20))
    story.tell("settle")
    assert story.lane.offset == later(NOW, 20)


def test_the_next_read_begins_where_the_last_one_ended() -> None:
    story = LaneStory()
    story.answer_read([], through=later(NOW, 40))
    read = next_read(story)
    assert (read.from_at, read.resume) == (later(NOW, 40), None)


def test_a_read_that_failed_in_its_middle_begins_again_at_its_last_row() -> None:
    story = LaneStory().tell("born:a")
    story.answer_read([story.row("a", at=later(NOW, 10))], resume=b"more", through=later(NOW, 20))
    assert story.asked_for(act.ReadRows).resume == b"more"
    read = next_read(story.tell("readfails"))
    assert (read.from_at, read.resume) == (later(NOW, 10), None)


def test_a_horizon_that_went_back_moves_nothing_back() -> None:
    story = LaneStory()
    story.answer_read([], through=later(NOW, 40))
    story.tell("+1000")
    story.answer_read([], through=later(NOW, 10))
    assert next_read(story).from_at == later(NOW, 40)


# --- an idle lane ---------------------------------------------------------------------------------


def test_a_lane_that_never_had_a_row_writes_nothing() -> None:
    story = LaneStory()
    for _ in range(100):
        story.tell("row NOAPPEND +1000 NOAPPEND")


def test_a_lane_that_is_done_writes_its_last_checkpoints_and_then_nothing() -> None:
    story = idle(LaneStory().tell("ring:a applied took applied row:a settle"), rounds=10)
    assert checkpoints(story)[-1][1].retired_through >= 1
    for _ in range(100):
        story.tell("+1000 row NOAPPEND")


def test_checkpoints_keep_their_distance() -> None:
    story = LaneStory()
    for name in "abcdefghij":
        story.tell(f"ring:{name} more:{name} settle applied took applied settle +100")
    entries = [decode_entry(body) for _, body in story.journal]
    instants = [entry.at for entry in entries if entry.checkpoint is not None]
    assert len(instants) >= 3
    assert all(b - a >= 250_000 for a, b in pairwise(instants))


# --- retirement -----------------------------------------------------------------------------------


def retire_story() -> LaneStory:
    """Return a lane whose two entries (a claim, its outcome) could retire but for one thing."""
    return LaneStory().tell("ring:a applied took applied row:a")


def retired_through(story: LaneStory) -> int:
    return max((checkpoint.retired_through for _, checkpoint in checkpoints(story)), default=-1)


def go_on_without_settling(story: LaneStory) -> LaneStory:
    for _ in range(6):
        story.tell("+1000 row" if story.entry is None else "+1000 row applied")
    return story


def test_entries_retire_when_all_is_done() -> None:
    assert retired_through(idle(retire_story())) >= 1


def test_an_entry_retires_only_when_it_is_projected() -> None:
    story = go_on_without_settling(retire_story().tell("booksread bookswritten"))
    assert retired_through(story) == -1
    assert retired_through(idle(story)) >= 1


def test_an_entry_retires_only_when_the_books_count_it() -> None:
    story = go_on_without_settling(retire_story().tell("projected projected"))
    assert retired_through(story) == -1
    assert retired_through(idle(story)) >= 1


@pytest.mark.parametrize(
    ("us_after_the_birth", "retires"), [(PROMPT_MS * 1_000, False), (PROMPT_MS * 1_000 + 1, True)]
)
def test_an_entry_retires_only_when_the_offset_is_beyond_p_after_every_birth(
    us_after_the_birth: int, retires: bool
) -> None:
    # The row is the newest one that is read, so that checkpoints go on until the offset is there.
    story = LaneStory().tell("ring:b,a applied took applied settle +3001")
    through = Instant(story.born("a") + us_after_the_birth)
    story.answer_read([story.row("a", at=through)], through=through)
    story.tell("settle +250 settle +250 settle")
    assert story.lane.offset == through
    assert (retired_through(story) >= 1) is retires


def test_the_youngest_of_an_entry_decides() -> None:
    story = LaneStory().tell("born:a +2000 ring:b,a applied took applied settle +5000")
    through = later(story.born("b"), PROMPT_MS)
    story.answer_read([story.row("b", at=through)], through=through)
    story.tell("settle +250 settle +250 settle")
    assert story.lane.offset == through
    assert retired_through(story) == -1


def test_an_entry_with_an_open_claim_holds_itself_and_all_after_it() -> None:
    story = LaneStory().tell("ring:a applied ring:b applied HAND:a,b row:a,b")
    first = story.asked.pop(
        next(n for n, asked in enumerate(story.asked) if isinstance(asked, act.HandOverWindow))
    )
    story.tell("HAND:b took SAYS:b=TAKE applied settle")
    assert retired_through(idle(story)) == -1
    story.asked.append(first)
    story.tell("took SAYS:a=TAKE applied settle")
    assert retired_through(idle(story)) >= 3


def test_a_claim_that_is_named_again_lets_its_old_entry_retire() -> None:
    # Rows that came so late that they themselves do not hold the offset below born + P.
    story = LaneStory().tell("born:a,b +60000 row:a,b folds bodies:a,b settle CLAIM:a,b applied")
    assert retired_through(idle(story)) == -1
    story.tell("+180000 CARRY:a,b")
    carried_in = story.asked_for(act.Append).seq
    assert retired_through(idle(story.tell("applied"))) == carried_in - 1
    story.tell("took SAYS:a=TAKE,b=TAKE applied")
    assert retired_through(idle(story)) > carried_in


def test_after_retirement_only_the_fold_knows_the_message() -> None:
    story = idle(retire_story())
    assert retired_through(story) >= 1
    story.tell("ring:a NOAPPEND WAITING:0")
    story.tell("+1000 row:a FOLDS:a folds:a=TAKE NOBODIES WAITING:0")


# --- below the offset -----------------------------------------------------------------------------


@pytest.mark.parametrize(("us_past", "word"), [(0, "CLAIM:a"), (1, "NOCLAIM")])
def test_a_doorbell_counts_down_to_p_below_the_offset(us_past: int, word: str) -> None:
    offset = Instant(later(NOW, PROMPT_MS) + us_past)
    LaneStory(fresh(offset=offset)).tell(f"ring:a {word}")


@pytest.mark.parametrize(("us_below", "words"), [(0, "NOFOLDS BODIES:a"), (1, "FOLDS:a NOBODIES")])
def test_a_prompt_row_below_the_offset_needs_the_fold(us_below: int, words: str) -> None:
    story = LaneStory(fresh(offset=NOW))
    story.answer_read([story.row("a", at=Instant(NOW - us_below))])
    story.tell(words)


def test_a_row_of_another_attempt_needs_the_fold() -> None:
    story = LaneStory()
    story.answer_read([story.row("a", attempt=2)])
    story.tell("FOLDS:a folds NOBODIES WAITING:0")
    story.tell("+1000 settle")
    story.answer_read([story.row("a", attempt=2)])
    story.tell("FOLDS:a folds:a=DEFER BODIES:a bodies:a settle CLAIM:a")
    assert story.entry is not None
    assert story.entry.steps == [2 << 24 | 1 << 8 | 1]
