"""Edits that come while something else changes: each changes what it speaks of, and nothing else.

`tests/support/lane_story.py` says what the words mean.  H is 180 s.
"""

from typing import Any

import pytest

from pipeline.command import Kept
from pipeline.instant import Instant, later
from pipeline.lane import actions as act
from pipeline.message import AT_ONCE, Submission, decode_body
from tests.support.commanded import Commanded, commanded
from tests.support.lane_story import NOW, WINDOWS
from tests.support.lane_world import body_of

H = WINDOWS.near_horizon_ms
END, LATER_END = later(NOW, 10 * H), later(NOW, 20 * H)
WORDS = Kept.TIMES | Kept.DUE  # what an edit of the words alone keeps
TIME = Kept.CONTENT


def asked(story: Commanded, kind: str, **body: Any) -> tuple[Submission | None, Instant]:
    """Ask, and let it be carried out; return the new body, if any, and when it is due."""
    story.ask(kind, "a", **body)
    ruled = story.asked_for(act.WriteRuled)
    words = [decode_body(row.body) for row in ruled.editions]
    due = [row[4] for row in ruled.rows] + [row[0] for row in ruled.timers]
    story.written().tell("SAYS:a=DEFER applied")
    if words:
        story.confirmed()
    return (words[0] if words else None), due[0]


def test_new_words_leave_a_pause_alone_that_their_author_had_not_seen() -> None:
    story = commanded()
    asked(story, "pause", due_at=END)
    assert asked(story, "edit", body=body_of("new", END), keeps=WORDS)[1] == END
    # And so do those after them.
    assert asked(story, "edit", body=body_of("newer", END), keeps=WORDS)[1] == END


def test_what_is_paused_stays_so_until_an_end_that_moved() -> None:
    story = commanded()
    asked(story, "pause", due_at=END)
    moved = asked(story, "edit", body=body_of("a", LATER_END), keeps=Kept.CONTENT | Kept.DUE)
    assert moved[1] == LATER_END


def test_new_words_and_a_new_time_of_two_people_both_count() -> None:
    story = commanded()
    asked(story, "edit", body=body_of("new"), keeps=WORDS)
    timed = asked(story, "edit", body=body_of("old", END), due_at=later(NOW, 2 * H), keeps=TIME)
    assert timed[0] is not None
    assert (timed[0].content, timed[0].expires_at) == ("new", END)
    worded = asked(story, "edit", body=body_of("newer"), keeps=WORDS)
    assert worded[0] is not None
    assert (worded[0].content, worded[0].expires_at) == ("newer", END)
    assert worded[1] == later(NOW, 2 * H)


def test_new_words_leave_alone_that_it_was_expedited_or_resumed() -> None:
    for kind in ("expedite", "resume"):
        story = commanded()
        asked(story, "pause", due_at=END)
        asked(story, kind)
        new = asked(story, "edit", body=body_of("new", END), due_at=END, keeps=WORDS)
        assert new[1] == AT_ONCE


def test_an_edit_that_keeps_nothing_is_taken_as_it_is() -> None:
    story = commanded()
    asked(story, "pause", due_at=END)
    words, due_at = asked(story, "edit", body=body_of("new"))
    assert words is not None
    assert (words.content, due_at) == ("new", AT_ONCE)


def test_what_a_provider_asked_for_meanwhile_is_not_overruled_by_an_older_time() -> None:
    story = commanded()
    asked(story, "expedite")
    story.tell("row2:a BODIES:a bodies:a CLAIM:a applied HAND:a deferred kept applied")
    asked_for = later(story.now, 2 * H)
    new = asked(story, "edit", body=body_of("new"), due_at=asked_for, keeps=WORDS)
    assert new[1] == asked_for


@pytest.mark.parametrize("content", ["short", "x" * 20_000])
def test_how_much_is_remembered_has_a_bound(monkeypatch: pytest.MonkeyPatch, content: str) -> None:
    story = commanded()
    asked(story, "edit", body=body_of(content), keeps=WORDS)
    known = story.lane._commands._lately._known
    assert [one.body for one in known.values()] == [
        body_of(content) if content == "short" else None
    ]
    monkeypatch.setattr("pipeline.lane.lately._MESSAGES_MAX", 8)
    for n in range(12):
        story.ask("pause", f"m{n}", due_at=END).written().tell("applied")
    assert len(known) == 8
    assert all(one.body is None for one in known.values())


def test_one_that_ended_is_forgotten() -> None:
    story = commanded()
    asked(story, "pause", due_at=END)
    story.ask("cancel", "a").tell("SAYS:a=CANCEL applied")
    assert not story.lane._commands._lately._known
