"""One message that ends the process whenever it is touched: all others get through, from a seed.

`make simulate SEEDS=7` runs one seed again, `SEEDS=0:+3000` so many from the first on.
"""

import os

import pytest

from pipeline.lane.caution import POISON
from pipeline.lifecycle import MessageState, Step, state_of
from pipeline.limits import POISON_ENDS_MAX
from pipeline.outcome import ProviderClass
from tests.support.poisoned_world import Kills, PoisonedWorld
from tests.support.seed import asked_seeds

# Enough to see a coarse mistake within seconds; of those that `make test` asks for some are enough.
SEEDS = asked_seeds(os.environ.get("SHARDPOST_SIMULATION_SEEDS", "0:+8"))[:300]
_ASKED = (ProviderClass.KEYED, ProviderClass.QUERYABLE)


@pytest.mark.parametrize("kills", Kills)
@pytest.mark.parametrize("seed", SEEDS)
def test_what_ends_the_process_ends_in_quarantine_and_the_others_get_through(
    seed: int, kills: Kills
) -> None:
    print(f"make simulate SEEDS={seed}")  # noqa: T201 -- shown when the test fails
    world = PoisonedWorld(seed, kills)
    chance = world.chance
    before, after = chance.randrange(12), chance.randrange(12)
    for _ in range(before):
        world.submit()
    world.submit_poison()
    for _ in range(after):
        world.submit()
    for _ in range(200):
        dice = chance.random()
        if dice < 0.1:
            world.submit()
        elif dice < 0.2:
            world.ring()
        elif dice < 0.3:
            world.tick(chance.choice([1, 20, 200]))
        else:
            world.owner.decide(world.now)
            world.step(world.owner)
    world.heal()
    world.check_end()
    poison = world.poison
    assert poison is not None
    newest = Step(max(world.timeline[poison]))
    events = {
        row[2]: row[4]
        for entry in world.entries.values()
        for row in entry.timeline_rows()
        if row[0] == poison
    }
    if state_of(newest) in (MessageState.EXPIRED, MessageState.SUPPRESSED):
        assert world.crashes_count < POISON_ENDS_MAX  # its time was over meanwhile
    elif kills is Kills.WHEN_READ:
        assert state_of(newest) is MessageState.FAILED
        assert events[newest] == POISON
        assert world.copies[poison] == 0
        # Whose turn comes after the time of care counts from its next end on.
        assert POISON_ENDS_MAX <= world.crashes_count <= POISON_ENDS_MAX + 1
    else:
        assert state_of(newest) is MessageState.UNCERTAIN
        # Of what is not asked for again nobody has to find out who it was.
        is_asked = world.provider_class in _ASKED
        assert (events[newest] == POISON) == is_asked
        assert world.crashes_count == (POISON_ENDS_MAX if is_asked else 1)
