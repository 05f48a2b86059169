"""A lane's story from a seed, told again with less in it until nothing more can be left out."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

from pipeline.instant import elapsed_ms
from tests.support.lane_world import START, LaneWorld

STEPS = 300
# What a story can do without, most disturbing first.
KINDS = (
    "take-overs",
    "zombies",
    "cuts",
    "replays",
    "commands",
    "suppressions",
    "doorbells",
    "no-answers",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneRun:
    """Which story: its seed, how long things go wrong, and what is left out."""

    seed: int
    steps: int = STEPS
    without: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, seed: int, *, steps: str = "", without: str = "") -> Self:
        """Return what one line of `make simulate` names; raises ValueError."""
        left_out = frozenset(filter(None, without.split(",")))
        if unknown := left_out - set(KINDS):
            raise ValueError(f"WITHOUT={sorted(unknown)[0]}: name some of {','.join(KINDS)}")
        return cls(seed=seed, steps=int(steps or STEPS), without=left_out)

    def __str__(self) -> str:
        line = f"make simulate SEEDS={self.seed}"
        if self.steps != STEPS:
            line += f" STEPS={self.steps}"
        if self.without:
            line += f" WITHOUT={','.join(kind for kind in KINDS if kind in self.without)}"
        return line

    def tell(self) -> LaneWorld:
        """Let everything happen and heal; raises AssertionError if a promise is broken."""
        world = LaneWorld(self.seed)
        if "no-answers" in self.without:
            world.faults = 0.0
        chance, without = world.chance, self.without
        takeover_rate = chance.choice([0.0, 0.005, 0.02])
        replay_rate = chance.choice([0.0, 0.02, 0.05])
        submit_rate = chance.choice([0.05, 0.15])
        command_rate = chance.choice([0.0, 0.03])
        suppress_rate = chance.choice([0.0, 0.01, 0.03])
        pace_ms = chance.choice([1, 20, 200, 1_000])
        # Each dice falls into the first of these that it is below.
        happens: list[tuple[float, str, Callable[[], None]]] = []
        below = 0.0
        for rate, kind, happen in (
            (submit_rate, "submissions", world.submit),
            (0.1, "doorbells", world.ring),
            (replay_rate, "replays", world.replay),
            (takeover_rate, "take-overs", world.take_over),
            (command_rate, "commands", world.command),
            (suppress_rate, "suppressions", world.suppress),
        ):
            below += rate
            happens.append((below, kind, happen))
        for _ in range(self.steps):
            if "cuts" not in without:
                world.cut_off()
            dice = chance.random()
            found = next(((kind, happen) for below, kind, happen in happens if dice < below), None)
            if found is not None:
                kind, happen = found
                if kind not in without:
                    happen()
            elif dice < 0.35:
                world.tick(chance.randrange(1, 2 * pace_ms + 1))
            else:
                self._step(world)
        world.heal()
        for zombie in world.zombies:
            while world.step(zombie, is_calm=True):
                zombie.decide(world.now)
        return world

    def _step(self, world: LaneWorld) -> None:
        owner = world.owner
        if world.chance.random() >= 0.85:
            if not world.zombies:
                return
            owner = world.chance.choice(world.zombies)
            if "zombies" in self.without:
                return
            world.fired["a deposed owner goes on"] += 1
        owner.decide(world.now)
        world.step(owner)

    def shrunk(self, is_broken: "Callable[[LaneRun], bool]") -> "LaneRun":
        """Return a story with less in it that is still broken; this one is."""
        run = self
        for kind in KINDS:
            less = replace(run, without=run.without | {kind})
            if is_broken(less):
                run = less
        # A shorter one is not always broken where a longer one is, so this finds a short one, and
        # perhaps not the shortest.
        step = run.steps // 2
        while step:
            shorter = replace(run, steps=run.steps - step)
            if shorter.steps > 0 and is_broken(shorter):
                run = shorter
            else:
                step //= 2
        return run


def is_broken(run: LaneRun) -> bool:
    """Whether a promise is broken in it."""
    try:
        run.tell().check_end()
    except Exception:
        return True
    return False


def simulated_ms(world: LaneWorld) -> int:
    """Return how much time went by in it."""
    return elapsed_ms(since=START, until=world.now)
