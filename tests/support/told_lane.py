"""What a lane was told by commands."""

from pipeline.command import decode_command
from pipeline.instant import Instant
from pipeline.later import CommandEntry
from pipeline.lifecycle import Event
from pipeline.message import MessageId
from tests.support.lane_actors import LaneActors


async def told(actors: LaneActors) -> list[tuple[MessageId, Event]]:
    """Return the messages and events of the lane's commands, each once, in order."""
    page = await actors.admin.port.read_commands(
        actors.lane,
        from_at=Instant(0),
        through_at=Instant(1 << 62),
        limit=1_000,
        resume=None,
    )
    commands: dict[bytes, CommandEntry] = {entry.id: entry for _, entry in page.rows}
    return sorted(
        (MessageId(entry.message_id), Event(decode_command(entry.payload).event))
        for entry in commands.values()
    )


__all__ = ["told"]
