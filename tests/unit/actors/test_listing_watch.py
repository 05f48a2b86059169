"""Suppressions on a real store: a scheduler that hands nothing to those on a list."""

import asyncio
from pathlib import Path

from actors.listing_watch import ListingWatch, read_suppressions
from cluster.topology.generation import Core
from pipeline.instant import Instant, later
from pipeline.lane.suppressions import ListingTenants
from pipeline.later import SuppressionRow
from pipeline.lifecycle import Event
from pipeline.limits import LISTING_TENANTS_MAX, SUPPRESSION_FRESH_MS_MAX
from pipeline.message import MessageId, addressee_of
from pipeline.outcome import HandOver, Outcomes, Report
from pipeline.route.suppression import SuppressionKey, suppression_key
from tests.contract.store_under_test import make_body
from tests.support.faulty_store import FaultyStore
from tests.support.lane_actors import CountingConnector, LaneActors
from tests.support.virtual_time import in_virtual_time, pass_time

A_SECOND = 1_000


def key_of(id_: MessageId) -> SuppressionKey:
    return suppression_key(*addressee_of(make_body(id_.hex())))


async def put(world: LaneActors, key: SuppressionKey, *, tenant: str | None = None) -> Core:
    core = world.generation.core_of(key)
    tenant = tenant or addressee_of(make_body("x"))[0]
    row = SuppressionRow(key, tenant, "sms", "", world.clock.now(), "bounce", "test")
    await world.admin.port.put_suppressions(core, [row])
    return core


async def remove(world: LaneActors, key: SuppressionKey) -> None:
    await world.admin.port.remove_suppressions(
        world.generation.core_of(key), [key], at=world.clock.now()
    )


@in_virtual_time
async def test_who_is_on_a_list_gets_nothing_and_who_is_taken_off_does(tmp_path: Path) -> None:
    async with LaneActors.on(tmp_path) as world:
        [probe] = await world.accept(1)
        key = key_of(probe)
        await put(world, key)
        await world.scheduler(await world.stores.open()).start()
        await pass_time(5 * A_SECOND)
        assert not world.log
        assert await world.states() == {"suppressed": 1}
        await remove(world, key)
        await pass_time(5 * A_SECOND)
        await world.accept(2)
        await pass_time(10 * A_SECOND)
        assert sum(world.log.values()) == 2
        assert await world.states() == {"suppressed": 1, "sent": 2}


@in_virtual_time
async def test_somebody_put_on_a_list_while_a_platform_runs_gets_nothing_soon(
    tmp_path: Path,
) -> None:
    async with LaneActors.on(tmp_path) as world:
        await world.scheduler(await world.stores.open()).start()
        [first] = await world.accept(1)
        await pass_time(10 * A_SECOND)
        assert world.log == {first: 1}
        await put(world, key_of(first))
        await pass_time(SUPPRESSION_FRESH_MS_MAX + 1)
        await world.accept(1)
        await pass_time(10 * A_SECOND)
        assert world.log == {first: 1}
        assert await world.states() == {"sent": 1, "suppressed": 1}


@in_virtual_time
async def test_a_list_that_cannot_be_read_holds_its_tenant_back_until_it_can(
    tmp_path: Path,
) -> None:
    async with LaneActors.on(tmp_path) as world:
        await put(world, suppression_key("acme", "sms", "somebody else"), tenant="acme")
        store = await world.stores.open()
        store.fail_before("read_suppressions", times=20)
        # Before the start, so that no test depends on whether its first look sees the lane.
        await world.accept(1)
        await world.scheduler(store).start()
        await pass_time(3 * A_SECOND)
        assert not world.log
        await pass_time(13 * A_SECOND)
        assert sum(world.log.values()) == 1


@in_virtual_time
async def test_nobody_is_asked_about_where_no_tenant_has_a_list(tmp_path: Path) -> None:
    async with LaneActors.on(tmp_path) as world:
        store = await world.stores.open()
        await world.scheduler(store).start()
        await world.accept(20)
        await pass_time(10 * A_SECOND)
        assert sum(world.log.values()) == 20
        assert "read_suppressions" not in store.log


# --- the watch ------------------------------------------------------------------------------------


def watch(world: LaneActors, store: FaultyStore, lists: ListingTenants) -> ListingWatch:
    return ListingWatch(store.port, [world.generation], lists, clock=world.clock)


@in_virtual_time
async def test_every_core_is_asked_which_tenants_have_a_list(tmp_path: Path) -> None:
    async with LaneActors.on(tmp_path) as world:
        cores: set[Core] = set()
        tenants: set[str] = set()
        n = 0
        while len(cores) < len(world.generation.cores):
            tenants.add(f"t{n}")
            cores.add(await put(world, suppression_key("t", "sms", str(n)), tenant=f"t{n}"))
            n += 1
        lists = ListingTenants()
        await watch(world, await world.stores.open(), lists).look()
        assert lists.known(world.clock.now()) == tenants


@in_virtual_time
async def test_a_core_that_does_not_answer_leaves_nothing_known_after_a_while(
    tmp_path: Path,
) -> None:
    async with LaneActors.on(tmp_path) as world:
        store, lists = await world.stores.open(), ListingTenants()
        looking = watch(world, store, lists)
        await looking.look()
        assert lists.known(world.clock.now()) == set()
        store.fail_before("read_listing_tenants", times=1)
        await pass_time(SUPPRESSION_FRESH_MS_MAX)
        await looking.look()
        assert lists.known(world.clock.now()) == set()
        assert lists.known(Instant(world.clock.now() + 1)) is None


@in_virtual_time
async def test_of_too_many_tenants_everybody_is_asked_about(tmp_path: Path) -> None:
    async with LaneActors.on(tmp_path) as world:
        for n in range(LISTING_TENANTS_MAX + 1):
            await put(world, suppression_key("t", "sms", str(n)), tenant=f"t{n}")
        lists = ListingTenants()
        await watch(world, await world.stores.open(), lists).look()
        assert lists.known(world.clock.now()) is None


@in_virtual_time
async def test_each_key_is_looked_for_at_its_own_core(tmp_path: Path) -> None:
    async with LaneActors.on(tmp_path) as world:
        keys = [suppression_key("t", "sms", str(n)) for n in range(40)]
        for key in keys[::2]:
            await put(world, key)
        store = await world.stores.open()
        found = await read_suppressions(store.port, world.generation, keys)
        assert found == {key: None if n % 2 else "bounce" for n, key in enumerate(keys)}
        store.fail_before("read_suppressions", times=1)
        assert len(await read_suppressions(store.port, world.generation, keys)) < len(keys)


@in_virtual_time
async def test_what_was_read_counts_from_when_the_read_began(tmp_path: Path) -> None:
    async with LaneActors.on(tmp_path) as world:
        store, lists = await world.stores.open(), ListingTenants()
        began_at = world.clock.now()
        store.pause("read_listing_tenants")
        look = asyncio.ensure_future(watch(world, store, lists).look())
        await pass_time(1_500)
        store.resume()
        await look
        at_last = later(began_at, SUPPRESSION_FRESH_MS_MAX)
        assert lists.known(at_last) == set()
        assert lists.known(Instant(at_last + 1)) is None


# --- what providers say of recipients -------------------------------------------------------------


class GoneConnector(CountingConnector):
    """Refuses everything, as its recipients want nothing more."""

    async def submit(self, hand_over: HandOver, report: Report) -> None:
        self.log.update(hand_over.message_ids)
        count = len(hand_over.message_ids)
        refused = Outcomes(
            events=bytes([Event.REFUSE]) * count, unwanted=dict.fromkeys(range(count), "opt_out")
        )
        report(range(count), refused)


@in_virtual_time
async def test_who_says_that_nothing_more_is_wanted_is_put_on_the_list(tmp_path: Path) -> None:
    async with LaneActors.on(tmp_path) as world:
        connector = GoneConnector(world.log)
        await world.scheduler(await world.stores.open(), connector=connector).start()
        [first] = await world.accept(1)
        await pass_time(10 * A_SECOND)
        key = key_of(first)
        core = world.generation.core_of(key)
        [row] = (await world.admin.port.read_suppressions(core, [key])).values()
        assert (row.reason, row.by) == ("opt_out", connector.name)
        assert "10000000000" not in row.recipient
        await world.accept(1)
        await pass_time(10 * A_SECOND)
        assert world.log == {first: 1}
        assert await world.states() == {"failed": 1, "suppressed": 1}


@in_virtual_time
async def test_a_list_that_cannot_be_written_does_not_keep_the_outcome(tmp_path: Path) -> None:
    async with LaneActors.on(tmp_path) as world:
        store = await world.stores.open()
        store.fail_before("put_suppressions", times=1)
        await world.scheduler(store, connector=GoneConnector(world.log)).start()
        await world.accept(1)
        await pass_time(10 * A_SECOND)
        assert await world.states() == {"failed": 1}
