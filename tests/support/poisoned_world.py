"""A lane's world in which touching one of the messages ends the process."""

from collections.abc import Callable
from enum import StrEnum

from pipeline.lane import actions as act
from pipeline.message import MessageId
from tests.support.lane_world import LaneWorld, Owner


class Kills(StrEnum):
    """When a poisoned message ends the process."""

    WHEN_READ = "when read"
    WHEN_HANDED_OVER = "when handed over"


class _Killed(Exception):
    pass


class PoisonedWorld(LaneWorld):
    """Its owners end at once, with all that they had begun, when they touch what is poisoned."""

    def __init__(self, seed: int, kills: Kills) -> None:
        self.kills = kills
        self.poison: MessageId | None = None
        self.crashes_count = 0
        self._is_crash = False
        super().__init__(seed)

    def submit_poison(self) -> None:
        known = set(self.bodies)
        self.submit()
        (self.poison,) = self.bodies.keys() - known

    def ring(self) -> None:
        super().ring()
        for owner in (self.owner, *self.zombies):
            # Doorbells bring bodies as well.
            if self.kills is not Kills.WHEN_READ or self.poison is None:
                continue
            if self.poison in owner.lane._backlog._queue:
                self._crash(owner)

    def step(self, owner: Owner, *, is_calm: bool = False) -> bool:
        try:
            return super().step(owner, is_calm=is_calm)
        except _Killed:
            self._crash(owner)
            return True

    def _effect(self, owner: Owner, action: act.Action, *, is_calm: bool) -> Callable[[], None]:
        if self.poison is not None and self.poison in self._touched(action):
            raise _Killed
        return super()._effect(owner, action, is_calm=is_calm)

    def _touched(self, action: act.Action) -> list[MessageId]:
        match action:
            case act.ReadBodies() if self.kills is Kills.WHEN_READ:
                return [id_ for _, id_ in action.keys]
            case act.HandOverWindow() | act.AskProvider() if self.kills is Kills.WHEN_HANDED_OVER:
                return list(action.message_ids)
            case _:
                return []

    def _crash(self, owner: Owner) -> None:
        owner.errands.clear()
        if owner is not self.owner:
            self.zombies.remove(owner)
            return
        self.crashes_count += 1
        self.takeovers_count += 1
        self._is_crash = True
        self.owner = self._take_over()
        self._is_crash = False

    def _is_after_crash(self) -> bool:
        return self._is_crash
