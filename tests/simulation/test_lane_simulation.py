"""A lane under everything that can go wrong between any two steps, from a seed.

`make simulate SEEDS=7` runs one seed again, `SEEDS=0:+3000` so many from the first on.  A seed that
breaks a promise is told again with less in it; the line to run that is printed.
"""

import os

import pytest

from tests.support.lane_run import LaneRun, is_broken
from tests.support.seed import asked_seeds

# Enough to see a coarse mistake within seconds; `make test` and `make mutants` ask for more.
SEEDS = asked_seeds(os.environ.get("SHARDPOST_SIMULATION_SEEDS", "0:+60"))


def run_of(seed: int) -> LaneRun:
    return LaneRun.parse(
        seed,
        steps=os.environ.get("SHARDPOST_SIMULATION_STEPS", ""),
        without=os.environ.get("SHARDPOST_SIMULATION_WITHOUT", ""),
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_is_lost_nothing_is_sent_twice_and_the_books_close(seed: int) -> None:
    run = run_of(seed)
    print(run)  # noqa: T201 -- shown when the test fails
    try:
        run.tell().check_end()
    except Exception:
        print(f"and with less in it: {run.shrunk(is_broken)}")  # noqa: T201
        raise


# What each kind of fault is called where it is counted (`tests/support/lane_world.py`).
KINDS_EXPECTED = {
    "a deposed owner goes on",
    "a doorbell is doubled",
    "a doorbell of a deposed owner",
    "a hand-over comes too late",
    "a hand-over is lost on its way",
    "a page is empty and not the last",
    "a page is short",
    "a provider defers",
    "a provider gets a key again",
    "a provider is not connected",
    "a provider refuses",
    "a provider's answer is lost",
    "a row is written again",
    "a take-over has no answer",
    "an append that never arrives",
    "an owner dies before it has read anything",
    "an owner is deposed",
    "no answer to Append",
    "no answer to Project",
    "no answer to ReadRows",
    "no answer to WriteBooks",
    "outcomes come apart",
    "the store is out of reach",
}


def test_every_kind_of_fault_happens_within_some_seeds() -> None:
    missing = set(KINDS_EXPECTED)
    for seed in range(1_000):
        missing -= {kind for kind, count in LaneRun(seed=seed).tell().fired.items() if count}
        if not missing:
            return
    pytest.fail(f"never happened: {sorted(missing)}")


def test_a_broken_story_is_told_with_less_in_it_and_by_one_line() -> None:
    def is_broken_with_takeovers(run: LaneRun) -> bool:
        return "take-overs" not in run.without and run.steps >= 100

    shrunk = LaneRun(seed=7).shrunk(is_broken_with_takeovers)
    assert str(shrunk) == (
        "make simulate SEEDS=7 STEPS=100"
        " WITHOUT=zombies,cuts,replays,commands,suppressions,doorbells,no-answers"
    )
    assert LaneRun.parse(7, steps="100", without=str(shrunk).rpartition("=")[2]) == shrunk
