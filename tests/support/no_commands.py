"""For a lane that nobody commands: the answers to what it asks before it rules."""

from pipeline.instant import Instant
from pipeline.lane import actions as act
from pipeline.lane.lane import Lane
from pipeline.later import CommandPage


def answer_no_commands(lane: Lane, action: act.Action, *, now: Instant) -> bool:
    """Answer that there are none; return whether that was asked."""
    match action:
        case act.ReadGroupOrders():
            lane.decisions.on_orders([])
        case act.ReadCommands():
            lane.decisions.on_commands(CommandPage([], None), through=now)
        case _:
            return False
    return True
