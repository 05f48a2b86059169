"""Lines of a paused group: their heads wait aside, and others go by."""

from pipeline.command import CommandKind
from pipeline.instant import Instant
from pipeline.later import GroupOrder
from pipeline.limits import Windows
from pipeline.message import BufferRow
from tests.support.commanded import Commanded
from tests.support.fake_clock import NOW
from tests.support.lane_story import GROUP, LaneStory

PAUSED = GroupOrder(GROUP, CommandKind.PAUSE, NOW, b"p" * 16, "ada")
KEYS = 3_000
PAGE = 500


class TwoGroups(LaneStory):
    """Whose name begins with f is of another group."""

    def row(self, name: str, *, at: Instant | None = None, attempt: int = 1) -> BufferRow:
        row = super().row(name, at=at, attempt=attempt)
        return (*row[:6], "default/free") if name.startswith("f") else row


def test_another_group_goes_by_the_many_lines_of_a_paused_one() -> None:
    story = TwoGroups(windows=Windows())
    story.orders.append(PAUSED)
    story.lane.decisions.on_orders(story.orders)
    for start in range(0, KEYS, PAGE):
        some = ",".join(f"m{n}~{n}" for n in range(start, start + PAGE))
        story.tell(f"more:{some} folds bodies:{some} NOCLAIM")
    story.tell("row:f1 bodies:f1 CLAIM:f1 applied HAND:f1 took applied settle")
    story.tell("+1000 row:f2~k folds bodies:f2~k applied CLAIM:f2~k applied HAND:f2~k took applied")
    assert story.lane.backlog_count == 0


def test_a_line_goes_on_where_it_stood_once_its_group_is_resumed() -> None:
    story = Commanded()
    story.orders.append(PAUSED)
    story.lane.decisions.on_orders(story.orders)
    story.tell("row:a~k,b~k folds bodies:a~k NOCLAIM settle")
    story.ask_group("resume").written()
    story.tell("SAYS:a~k=DEFER applied row2:a~k")
    story.tell("bodies:a~k applied CLAIM:a~k applied HAND:a~k took SAYS:a~k=TAKE FOLDS:b~k")


def test_a_line_ends_head_by_head_once_its_group_is_cancelled() -> None:
    story = Commanded()
    story.orders.append(PAUSED)
    story.lane.decisions.on_orders(story.orders)
    story.tell("row:a~k,b~k folds bodies:a~k NOCLAIM settle")
    story.ask_group("cancel").tell("SAYS:a~k=CANCEL FOLDS:b~k applied settle")
    story.tell("folds bodies:b~k SAYS:b~k=CANCEL")
