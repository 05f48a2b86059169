"""Parting what is scarce: everybody gets what he asks for, or his part, whichever is less.

Max-min fairness by weights, found by filling: the least demands for their weight are met first, and
what they leave is parted among the others.  Whole permits are made of the ideal parts at the end,
and what rounding took or gave is remembered by the caller for the next round, so that of ten who
share three permits a round nobody waits for ever.
"""

from collections.abc import Mapping
from typing import TypeVar

Name = TypeVar("Name", bound=object)


def fill(
    total: float, demands: Mapping[Name, float], weights: Mapping[Name, float]
) -> dict[Name, float]:
    """Return what each gets of the total: never more than it asks for, nothing left that is asked.

    Weights are greater than 0.
    """
    shares: dict[Name, float] = {}
    left = float(total)
    left_weight = sum(weights[name] for name, demand in demands.items() if demand > 0)
    for name in sorted(demands, key=lambda name: demands[name] / weights[name]):
        demand = demands[name]
        if demand <= 0:
            shares[name] = 0.0
            continue
        shares[name] = max(0.0, min(demand, left * weights[name] / left_weight))
        left -= shares[name]
        left_weight -= weights[name]
    return shares


def in_whole(total: int, ideals: Mapping[Name, float], owed: dict[Name, float]) -> dict[Name, int]:
    """Return whole numbers near the ideals whose sum is `total`, or what the ideals sum up to.

    `owed` holds what each is still owed from the rounds before, less than 1 either way; it is
    brought up to date, and names that are gone are forgotten.
    """
    total = min(total, round(sum(ideals.values())))
    wished = {
        name: ideal + owed.get(name, 0.0) if ideal > 0 else 0.0 for name, ideal in ideals.items()
    }
    given = {name: max(0, int(wish)) for name, wish in wished.items()}
    missing = total - sum(given.values())
    # Whoever is owed most comes first, and gives back last.
    order = sorted(wished, key=lambda name: wished[name] - given[name], reverse=missing > 0)
    step = 1 if missing > 0 else -1
    while missing:
        changed = False
        for name in order:
            if not missing:
                break
            if ideals[name] > 0 and given[name] + step >= 0:
                given[name] += step
                missing -= step
                changed = True
        assert changed, (total, ideals)
    owed.clear()
    owed.update(
        (name, min(1.0, max(-1.0, wish - given[name])))
        for name, wish in wished.items()
        if ideals[name] > 0
    )
    return given
