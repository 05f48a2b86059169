"""Opens what a process holds of ScyllaDB, from its settings, in the process that uses it."""

import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

from cluster.runtime.clock import SystemClock
from cluster.runtime.scylla_settings import ScyllaSection
from cluster.runtime.secrets import read_secret
from cluster.runtime.settings import Settings
from cluster.scylla import generations, restores
from cluster.scylla.administration import administration
from cluster.scylla.clock_skew import clock_fault, measure_skews
from cluster.scylla.first_generation import generations_of, refuse_other_windows
from cluster.scylla.keeper import SessionKeeper
from cluster.scylla.session import ScyllaSession
from cluster.scylla.settings import ScyllaSettings
from cluster.topology.generation import Generation
from pipeline.errors import SettingInvalid, StoreUnavailable
from pipeline.instant import Instant
from pipeline.ports import Clock


def scylla_settings(section: ScyllaSection) -> ScyllaSettings:
    """Return how to reach the cluster, with its secrets; raises `SettingInvalid`."""
    if not section.hosts:
        raise SettingInvalid(
            "scylla.hosts: name some nodes of the cluster, as `--hosts a,b,c` or in the settings"
        )
    return ScyllaSettings(
        hosts=section.hosts,
        keyspace=section.keyspace,
        port=section.port,
        datacenter=section.datacenter or None,
        username=section.username or None,
        password=None if section.password is None else read_secret(section.password),
        tls=_tls_of(section),
    )


def _tls_of(section: ScyllaSection) -> ssl.SSLContext | None:
    files = (section.tls_ca, section.tls_certificate, section.tls_key)
    if not section.tls and not any(files):
        return None
    if bool(section.tls_certificate) != bool(section.tls_key):
        raise SettingInvalid(
            "scylla.tls_certificate and scylla.tls_key go together: set both, or neither"
        )
    try:
        context = ssl.create_default_context(cafile=section.tls_ca or None)
        context.check_hostname = section.tls_check_hosts
        if section.tls_certificate:
            context.load_cert_chain(section.tls_certificate, section.tls_key)
    except OSError as error:  # and ssl.SSLError
        reason = error.strerror or str(error)
        named = ", ".join(filter(None, files))
        raise SettingInvalid(f"scylla.tls_…: {named} cannot be used: {reason}") from None
    return context


class OpenedScylla(NamedTuple):
    """A session that is looked after, and the generations it found."""

    session: ScyllaSession
    keeper: SessionKeeper
    generations: Sequence[Generation]

    async def close(self) -> None:
        """Close the session."""
        await self.keeper.close()
        await self.session.close()


async def open_scylla(settings: Settings, *, clock: Clock) -> OpenedScylla:
    """Open the session of a process that stays.

    Raises `SettingInvalid`, `SchemaUnusable` or `StoreUnavailable`, which say what to change.
    """
    session = await ScyllaSession.connect(scylla_settings(settings.scylla))
    try:
        found = await generations.read_all(session)
        if not found:
            raise StoreUnavailable("the keyspace has no generation: `shardpost up` makes it")
        refuse_other_windows(found[-1], settings.windows)
    except BaseException:
        await session.close()
        raise
    keeper = SessionKeeper(session, clock=clock, skew_ms_max=settings.windows.clock_skew_ms_max)
    keeper.start()
    return OpenedScylla(session, keeper, found)


class ScyllaPlace(NamedTuple):
    """What a platform that starts finds."""

    generations: Sequence[Generation]
    machines: Mapping[str, str]  # node -> its address, which is the label of its machine


async def prepare_scylla(settings: Settings) -> ScyllaPlace:
    """Look whether the keyspace can be used, and make its first generation.

    Raises `SettingInvalid`, `SchemaUnusable` or `StoreUnavailable`, which say what to change.
    """
    clock = SystemClock()
    named = scylla_settings(settings.scylla)
    async with administration(named, settings.windows) as admin:
        await admin.check()
    async with connected(settings) as session:
        await _refuse_skew(session, settings, clock=clock)
        found = await generations_of(session, clock=clock, windows=settings.windows)
        return ScyllaPlace(found, session.addresses())


async def mark_restored(settings: Settings) -> Instant:
    """Note that the keyspace was restored from a backup, and return when.

    Raises as `prepare_scylla`, and `PlatformHeld` while a platform runs on the keyspace.
    """
    clock = SystemClock()
    async with administration(scylla_settings(settings.scylla), settings.windows) as admin:
        await admin.check()
    async with connected(settings) as session:
        await _refuse_skew(session, settings, clock=clock)
        return await restores.mark(session, clock=clock, windows=settings.windows)


async def _refuse_skew(session: ScyllaSession, settings: Settings, *, clock: Clock) -> None:
    skews = await measure_skews(session, clock=clock)
    fault = clock_fault(skews, skew_ms_max=settings.windows.clock_skew_ms_max)
    if fault is not None:
        raise SettingInvalid(fault)


@asynccontextmanager
async def connected(settings: Settings) -> AsyncIterator[ScyllaSession]:
    """Give a session for a command; raises as `prepare_scylla`."""
    session = await ScyllaSession.connect(scylla_settings(settings.scylla))
    try:
        yield session
    finally:
        await session.close()
