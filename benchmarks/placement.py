"""Placement: how many keys a second find their core, and are made for one, on one core.

The ring is that of a cluster of three nodes with 256 tokens and 8 shards each, of which one has
another shape; the embedded store's is smaller and faster.  Batches hold 10,000 keys, every one
different.  CPU time is measured, not time on the wall, so that a busy machine does not count; the
figure is the median of the runs.  Beside the batches stand what they replace: one key at a time.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from random import Random
from typing import Final

import numpy as np

from benchmarks.result import print_result
from cluster.topology.generation import Generation, Node
from cluster.topology.made_up import made_up_ring
from cluster.topology.token import token_of, tokens_of

KEYS_PER_BATCH: Final = 10_000
BATCHES: Final = 10
RUNS: Final = 9


def keys_per_second(place: Callable[[int], object], key_count: int) -> int:
    """Return the median rate at which `place`, given the number of a batch, handles its keys."""
    rates = []
    for _ in range(RUNS):
        begun = time.process_time()
        for batch_no in range(BATCHES):
            place(batch_no)
        rates.append(BATCHES * key_count / (time.process_time() - begun))
    return round(statistics.median(rates))


def cluster_of_three() -> Generation:
    """Return a generation whose nodes are not all of one shape."""
    nodes, ring = made_up_ring(
        node_names=("node-1", "node-2", "node-3"),
        shard_count=8,
        vnodes_per_node=256,
        ignore_msb=12,
        seed=1,
    )
    another = Node(name="node-3", shard_count=12, ignore_msb=12)
    return Generation(
        number=1, starts_at=0, prompt_ms=3_000, nodes=(*nodes[:-1], another), ring=ring
    )


def main() -> None:
    """Measure and print one line."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    generation = cluster_of_three()
    chance = Random(1)
    batches = [[chance.randbytes(16) for _ in range(KEYS_PER_BATCH)] for _ in range(BATCHES)]
    nonces = [
        np.arange(batch_no * KEYS_PER_BATCH, (batch_no + 1) * KEYS_PER_BATCH, dtype=np.uint64)
        for batch_no in range(BATCHES)
    ]
    few = [keys[:1_000] for keys in batches]
    core = generation.cores[0]
    print_result(
        "placement",
        {
            "keys_per_batch": KEYS_PER_BATCH,
            "ring_tokens": len(generation.ring.tokens),
            "placed_per_second": keys_per_second(
                lambda batch_no: generation.core_indexes_of(batches[batch_no]), KEYS_PER_BATCH
            ),
            "forged_per_second": keys_per_second(
                lambda batch_no: generation.forged_keys(core, nonces[batch_no]), KEYS_PER_BATCH
            ),
            "hashed_per_second": keys_per_second(
                lambda batch_no: tokens_of(batches[batch_no]), KEYS_PER_BATCH
            ),
            "one_by_one_placed_per_second": keys_per_second(
                lambda batch_no: [generation.core_of(key) for key in few[batch_no]], 1_000
            ),
            "one_by_one_forged_per_second": keys_per_second(
                lambda batch_no: [generation.forged_key(core, nonce) for nonce in range(1_000)],
                1_000,
            ),
            "one_by_one_hashed_per_second": keys_per_second(
                lambda batch_no: [token_of(key) for key in few[batch_no]], 1_000
            ),
        },
    )


if __name__ == "__main__":
    main()
