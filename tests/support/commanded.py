"""A lane of which somebody asks something, told as a story."""

from pipeline.command import CommandBody, CommandKind, encode_command
from pipeline.instant import Instant
from pipeline.lane import actions as act
from pipeline.lane.entry import CommandAnswer
from pipeline.later import CommandEntry, GroupOrder
from pipeline.message import PartitionKey
from tests.support.lane_story import GROUP, LaneStory, id_of


class Commanded(LaneStory):
    """A lane, and somebody who asks."""

    def ask(self, kind: str, name: str, **body: object) -> "Commanded":
        self._ask(kind, name, group="", **body)
        return self

    def ask_group(self, kind: str) -> "Commanded":
        """Do as a door does: the order first, then the command."""
        if kind != CommandKind.EXPEDITE:
            order = GroupOrder(GROUP, kind, self.now, b"o" * 16, "ada")
            self.orders = [order]
        self._ask(kind, "", group=GROUP)
        return self

    def _ask(self, kind: str, name: str, *, group: str, **body: object) -> None:
        number = len(self.commands) + 1
        id_ = id_of(name) if name else b""
        payload = encode_command(
            CommandBody(born=self.born(name), group=GROUP, **body)  # type: ignore[arg-type]
        )
        entry = CommandEntry(
            bytes([number]) * 16, kind, id_, PartitionKey(id_), group, "ada", payload
        )
        self.commands.append((Instant(self.now + number), entry))
        self.pass_time(1)
        self.lane.on_bare_doorbell()
        self._decide()

    @property
    def answers(self) -> list[CommandAnswer]:
        """The answers of the append in flight."""
        return [] if self.entry is None else list(self.entry.answers)

    @property
    def verdicts(self) -> list[str]:
        return [answer.verdict for answer in self.answers]

    def written(self) -> "Commanded":
        """Let what rulings need be durable."""
        self._take(act.WriteRuled)
        self.lane.decisions.on_written()
        self._decide()
        return self

    def confirmed(self) -> "Commanded":
        """Let editions be confirmed and answers be written."""
        self._take(act.WriteAnswers)
        self.lane.projection.on_answers_written()
        self._decide()
        return self

    def tell(self, story: str) -> "Commanded":
        """Go through a story; see `LaneStory`."""
        super().tell(story)
        return self


def commanded(**named: object) -> Commanded:
    return Commanded(**named)  # type: ignore[arg-type]
