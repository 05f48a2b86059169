"""Chance for tests that can be told to repeat itself."""

import os
import random


def seeded_random() -> random.Random:
    """Return a source of chance; its seed is printed, and SHARDPOST_SEED gives it again."""
    seed = int(os.environ.get("SHARDPOST_SEED") or random.SystemRandom().getrandbits(32))
    print(f"SHARDPOST_SEED={seed}")  # noqa: T201
    return random.Random(seed)


def asked_seeds(text: str) -> range:
    """Return the seeds that `7` or `0:+3000` names."""
    first, _, count = text.partition(":+")
    return range(int(first), int(first) + int(count or "1"))
