"""A session whose connections are full for a moment waits, as nothing was sent."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from cassandra import OperationTimedOut
from cassandra.cluster import NoHostAvailable
from cassandra.connection import ConnectionBusy, ConnectionShutdown

from cluster.scylla.error_map import is_busy
from cluster.scylla.session import ScyllaSession
from cluster.scylla.settings import BUSY_PAUSES_S
from pipeline.errors import StoreUnavailable, WriteUnknown
from tests.support.virtual_time import in_virtual_time, loop_now

KEY = bytes(16)
BUSY = NoHostAvailable("none", {"a": ConnectionBusy("full")})


class Driver:
    """A session of the driver that fails as it is told, then answers."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.sent_count = 0

    def execute_async(self, request: Any, **_: Any) -> Any:
        self.sent_count += 1
        return Response(self.errors.pop(0) if self.errors else None)


class Response:
    has_more_pages = False

    def __init__(self, error: Exception | None) -> None:
        self._error = error

    def add_callbacks(self, callback: Any, errback: Any) -> None:
        if self._error is None:
            callback([(b"row",)])
        else:
            errback(self._error)


def session_of(driver: Driver) -> ScyllaSession:
    prepared: Any = SimpleNamespace(
        bind=lambda _parameters: SimpleNamespace(routing_key=None), column_metadata=[]
    )
    cluster = SimpleNamespace(metadata=None)
    names = ("select_owners", "insert_beat")
    return ScyllaSession(cluster, driver, dict.fromkeys(names, prepared))


@in_virtual_time
async def test_what_finds_its_connection_full_is_sent_a_moment_later() -> None:
    driver = Driver(BUSY, BUSY, BUSY)
    assert await session_of(driver).read("select_owners", ()) == [(b"row",)]
    assert driver.sent_count == 4
    assert loop_now().time() == pytest.approx(sum(BUSY_PAUSES_S[:3]))


@in_virtual_time
async def test_who_waits_in_vain_is_told_that_nothing_was_sent() -> None:
    driver = Driver(*[BUSY] * (len(BUSY_PAUSES_S) + 1))
    with pytest.raises(StoreUnavailable, match="full"):
        await session_of(driver).write("insert_beat", (KEY,))
    assert driver.sent_count == len(BUSY_PAUSES_S) + 1


@pytest.mark.parametrize(
    "error",
    [
        OperationTimedOut(),
        ConnectionShutdown("gone"),
        NoHostAvailable("none", {"a": ConnectionBusy("full"), "b": ConnectionShutdown("gone")}),
    ],
    ids=["no answer", "it broke", "full here and broken there"],
)
@in_virtual_time
async def test_what_may_have_been_sent_is_not_sent_again(error: Exception) -> None:
    driver = Driver(error)
    with pytest.raises(WriteUnknown):
        await session_of(driver).write("insert_beat", (KEY,))
    assert driver.sent_count == 1
    await asyncio.sleep(0)


def test_where_no_host_was_tried_nothing_is_full() -> None:
    assert is_busy(BUSY)
    assert is_busy(ConnectionBusy("full"))
    assert not is_busy(NoHostAvailable("none", {}))
