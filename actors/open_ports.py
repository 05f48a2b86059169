"""Opens what actors hold of the world, in the process where they run.

Nothing that is open is ever pickled.
"""

import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from actors.config import PlatformConfig
from actors.doorbells import Bell, Doorbells
from actors.ingester import IngesterPorts
from actors.open_connector import open_check, open_connector
from actors.permits import LimiterDoor
from actors.receipt_desk import ReceiptDesk
from actors.receiver import CallbackDoor, Folder, ReceiverPorts
from actors.registry import ActorWorld, RegistryPorts
from actors.scheduler import SchedulerPorts
from actors.stores import OpenedStore, open_store
from cluster.egress.file_outbox import FileOutbox
from cluster.egress.receipt_endpoint import ReceiptEndpoint
from cluster.egress.smtp_bounce_folder import BounceFolder, BounceMailbox
from cluster.local.bell import CoreBell
from cluster.runtime.connector_settings import SmtpConnectorSettings, WebhookConnectorSettings
from cluster.runtime.processor import ProcessorMeter
from cluster.runtime.routing import connector_routes, limit_book
from cluster.runtime.settings import Settings
from cluster.topology.generation import Core
from pipeline.ingest.recipient import CHANNELS
from pipeline.instant import DurationMs
from pipeline.lane.gate import ConnectorTerms, Gate
from pipeline.limits import CLAIMS_PER_HAND_OVER_MAX, KEY_LIFE_MS
from pipeline.ports import Connector
from pipeline.route.receipts import ReceiptTerms

OUTBOX = "outbox"


async def _open_store(platform: PlatformConfig) -> OpenedStore:
    return await open_store(platform.settings, Path(platform.data_folder))


async def open_ingester_ports(
    platform: PlatformConfig, *, find_bell: Callable[[str], Awaitable[Bell | None]]
) -> IngesterPorts:
    """Open an ingester's ports."""
    opened = await _open_store(platform)
    store, clock = opened.store, opened.clock
    settings = platform.settings
    return IngesterPorts(
        store=store,
        generations=opened.generations,
        channels=frozenset(channel for channel in CHANNELS if settings.has_way_out(channel)),
        clock=clock,
        chance=os.urandom,
        measure=ProcessorMeter().measure,
        doorbells=Doorbells(
            clock=clock,
            read_owners=store.read_owners,
            find_bell=find_bell,
            owner_refresh_ms=settings.windows.owner_refresh_ms,
        ),
        close=opened.close,
        refusal=opened.refusal,
        warnings=opened.warnings,
        served=opened.served,
    )


async def open_scheduler_ports(
    platform: PlatformConfig,
    core: Core,
    *,
    part: int,
    find_limiter: Callable[[], Awaitable[LimiterDoor | None]],
    find_bell: Callable[[str], Awaitable[Bell | None]],
) -> SchedulerPorts:
    """Open the ports of a core's scheduler."""
    opened = await _open_store(platform)
    settings = platform.settings
    outbox = FileOutbox(Path(platform.data_folder) / OUTBOX)
    by_name = {
        name: open_connector(name, connector, outbox=outbox)
        for name, connector in settings.connectors.items()
    }

    bell = CoreBell(Path(platform.data_folder), core, part=part)

    async def close() -> None:
        bell.take_down()
        for connector in by_name.values():
            await connector.close()
        await opened.close()

    return SchedulerPorts(
        store=opened.store,
        generations=opened.generations,
        connectors=by_name,
        gates=_gates(settings, by_name),
        book=limit_book(settings.connectors),
        find_limiter=find_limiter,
        find_bell=find_bell,
        measure=ProcessorMeter().measure,
        clock=opened.clock,
        close=close,
        hang_bell=bell.hang,
        warnings=opened.warnings,
        served=opened.served,
    )


def _gates(settings: Settings, connectors: Mapping[str, Connector]) -> dict[str, Gate]:
    terms = [
        ConnectorTerms(
            route=route,
            provider_class=connectors[route.name].provider_class,
            has_receipts=connectors[route.name].has_receipts,
            receipts=settings.connectors[route.name].receipt_terms or ReceiptTerms(),
            claims_max=_claims_max(settings.connectors[route.name].at_once),
            key_life_ms=DurationMs(
                getattr(settings.connectors[route.name], "key_life_ms", KEY_LIFE_MS)
            ),
        )
        for route in connector_routes(settings.connectors)
    ]
    return {channel: Gate(channel, terms) for channel in CHANNELS if settings.has_way_out(channel)}


def _claims_max(at_once: int | None) -> int | None:
    return None if at_once is None else CLAIMS_PER_HAND_OVER_MAX * at_once


async def open_receiver_ports(platform: PlatformConfig) -> ReceiverPorts:
    """Open the receiver's ports.  Raises `SettingInvalid` if a secret cannot be read."""
    settings = platform.settings
    doors: dict[str, CallbackDoor] = {}
    folders: dict[str, Folder] = {}
    for name, connector in settings.connectors.items():
        match connector:
            case WebhookConnectorSettings() if (terms := connector.receipt_terms) is not None:
                doors[name] = CallbackDoor(terms=terms, check=open_check(name, connector))
            case SmtpConnectorSettings() if connector.bounces is not None:
                folders[name] = BounceMailbox(
                    BounceFolder(connector.bounces, domain=connector.sender_domain)
                )
            case _:
                continue
    opened = await _open_store(platform)
    endpoint = ReceiptEndpoint(host=settings.receipts.host, port=settings.receipts.port)
    return ReceiverPorts(
        desk=ReceiptDesk(opened.store, opened.generations[-1]),
        endpoint=endpoint if doors else None,
        doors=doors,
        folders=folders,
        clock=opened.clock,
        close=opened.close,
    )


async def open_registry_ports(platform: PlatformConfig, world: ActorWorld) -> RegistryPorts:
    """Open the registry's ports."""
    opened = await _open_store(platform)
    return RegistryPorts(
        topology=opened.store,
        world=world,
        clock=opened.clock,
        chance=os.urandom,
        close=opened.close,
        warnings=opened.warnings,
    )
