"""A lane under everything that can go wrong between any two steps, from a seed.

`make simulate SEEDS=7` runs one seed again, `SEEDS=0:+3000` so many from the first on.
"""

import os

import pytest

from tests.support.lane_world import LaneWorld
from tests.support.seed import asked_seeds

# Enough to see a coarse mistake within seconds; `make test` and `make mutants` ask for more.
SEEDS = asked_seeds(os.environ.get("SHARDPOST_SIMULATION_SEEDS", "0:+60"))
STEPS = 300


def run(seed: int) -> LaneWorld:
    world = LaneWorld(seed)
    chance = world.chance
    takeover_rate = chance.choice([0.0, 0.005, 0.02])
    replay_rate = chance.choice([0.0, 0.02, 0.05])
    submit_rate = chance.choice([0.05, 0.15])
    command_rate = chance.choice([0.0, 0.03])
    suppress_rate = chance.choice([0.0, 0.01, 0.03])
    pace_ms = chance.choice([1, 20, 200, 1_000])
    for _ in range(STEPS):
        dice = chance.random()
        if dice < submit_rate:
            world.submit()
        elif dice < submit_rate + 0.1:
            world.ring()
        elif dice < submit_rate + 0.1 + replay_rate:
            world.replay()
        elif dice < submit_rate + 0.1 + replay_rate + takeover_rate:
            world.take_over()
        elif dice < submit_rate + 0.1 + replay_rate + takeover_rate + command_rate:
            world.command()
        elif dice < submit_rate + 0.1 + replay_rate + takeover_rate + command_rate + suppress_rate:
            world.suppress()
        elif dice < 0.35:
            world.tick(chance.randrange(1, 2 * pace_ms + 1))
        else:
            owner = world.owner if chance.random() < 0.85 else None
            if owner is None and world.zombies:
                owner = chance.choice(world.zombies)
            if owner is not None:
                owner.decide(world.now)
                world.step(owner)
    world.heal()
    for zombie in world.zombies:
        while world.step(zombie, is_calm=True):
            zombie.decide(world.now)
    return world


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_is_lost_nothing_is_sent_twice_and_the_books_close(seed: int) -> None:
    print(f"make simulate SEEDS={seed}")  # noqa: T201 -- shown when the test fails
    run(seed).check_end()
