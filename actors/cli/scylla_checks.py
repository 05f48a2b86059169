"""What `shardpost doctor` looks at on ScyllaDB: the cluster, the keyspace, each node, each core."""

import logging
from collections.abc import AsyncIterator

from actors.cli.health_checks import Check, Verdict, check_heartbeat, failed
from actors.scylla_store import connected, scylla_settings
from cluster.runtime.clock import SystemClock
from cluster.runtime.settings import Settings
from cluster.scylla import generations
from cluster.scylla.administration import administration
from cluster.scylla.clock_skew import Skew, measure_skews
from cluster.scylla.inspection import ScyllaInspection
from cluster.scylla.session import ScyllaSession
from cluster.scylla.topology_source import picture_of
from cluster.topology.generation import Generation
from pipeline.errors import ShardpostError, StoreUnavailable
from pipeline.instant import Instant


async def check_cluster(
    settings: Settings, *, is_running: bool, now: Instant
) -> AsyncIterator[Check]:
    """Look at the cluster of the settings; the first thing that stands in the way ends it."""
    logging.getLogger("cassandra").setLevel(logging.CRITICAL)
    try:
        async with administration(scylla_settings(settings.scylla), settings.windows) as admin:
            await admin.check()
        async with connected(settings) as session:
            yield Check(
                name="schema",
                verdict=Verdict.OK,
                told=f"keyspace {settings.scylla.keyspace} can be used",
            )
            async for check in _check_nodes(session, settings):
                yield check
            found = await generations.read_all(session)
            if not found:
                yield Check(
                    name="generation",
                    verdict=Verdict.WARN,
                    told="none: no platform was started on the keyspace so far",
                    advice="`shardpost up` makes the first one",
                )
                return
            yield _check_ring(session, found[-1])
            if is_running:
                async for check in _check_cores(session, found[-1], settings, now=now):
                    yield check
    except ShardpostError as error:
        yield failed("cluster", str(error))


async def _check_nodes(session: ScyllaSession, settings: Settings) -> AsyncIterator[Check]:
    skews = await measure_skews(session, clock=SystemClock())
    for node in sorted(session.nodes_down()):
        yield Check(
            name=f"node {node}",
            verdict=Verdict.WARN,
            told="does not answer; work goes on while most replicas of each row do",
            advice="start it again, or replace it",
        )
    for skew in skews:
        yield _check_clock(skew, skew_ms_max=settings.windows.clock_skew_ms_max)
    if session.shards_ready():
        yield Check(
            name="shards_ready", verdict=Verdict.OK, told="every core has a connection of its own"
        )
    else:
        yield Check(
            name="shards_ready",
            verdict=Verdict.WARN,
            told="not every core could be connected to: requests take a detour",
            advice="look whether the shard-aware port (19042) of every node is open, and whether"
            " addresses are translated on the way",
        )


def _check_clock(skew: Skew, *, skew_ms_max: int) -> Check:
    told = f"up, its clock differs by {skew.certain_ms:,} ms or a little more"
    name = f"node {skew.node}"
    if skew.certain_ms <= skew_ms_max:
        return Check(name=name, verdict=Verdict.OK, told=told)
    return failed(
        name,
        f"{told}; clock_skew_ms_max is {skew_ms_max}, and nothing is accepted",
        "set the clocks right, with NTP or chrony on every machine",
    )


def _check_ring(session: ScyllaSession, newest: Generation) -> Check:
    name = f"generation {newest.number}"
    try:
        picture = picture_of(session)
    except StoreUnavailable as error:
        return Check(
            name=name,
            verdict=Verdict.WARN,
            told=f"whether the ring is still that of it is not known: {error}",
            advice="start the node, then look again",
        )
    if picture.nodes == newest.nodes and picture.ring == newest.ring:
        cores = len(newest.cores)
        return Check(
            name=name, verdict=Verdict.OK, told=f"{len(newest.nodes)} nodes, {cores} cores"
        )
    return Check(
        name=name,
        verdict=Verdict.WARN,
        told="the ring is another one by now: nothing is lost, and statements take a detour",
        advice="nothing has to be done: lanes stay where generation"
        f" {newest.number} has them, as the platform follows no change of the ring so far",
    )


async def _check_cores(
    session: ScyllaSession, generation: Generation, settings: Settings, *, now: Instant
) -> AsyncIterator[Check]:
    store = ScyllaInspection(session, generation, clock=SystemClock(), windows=settings.windows)
    addresses = session.addresses()
    for core in generation.cores:
        if generation.owns_nothing(core):
            continue
        yield check_heartbeat(
            f"core {addresses.get(core.node, core.node)}/{core.shard}",
            await store.heard(core),
            heartbeat_ms=settings.windows.heartbeat_ms,
            now=now,
        )
