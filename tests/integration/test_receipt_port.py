"""A port for callbacks that somebody else has is told in one line, before and at the start."""

import socket

import pytest

from cluster.egress.receipt_endpoint import CallbackReply, ReceiptEndpoint, refuse_taken
from pipeline.errors import SettingInvalid

LOOPBACK = "127.0.0.1"


async def take(*_: object) -> CallbackReply:
    raise AssertionError("nobody calls")


async def test_a_port_that_is_taken_is_refused_and_one_that_is_free_is_left_free() -> None:
    with socket.create_server((LOOPBACK, 0)) as other:
        port = other.getsockname()[1]
        endpoint = ReceiptEndpoint(host=LOOPBACK, port=port)
        told = f"receipts.port = {port}: another program listens there"
        with pytest.raises(SettingInvalid, match=told):
            refuse_taken(LOOPBACK, port)
        with pytest.raises(SettingInvalid, match=told):
            await endpoint.start(take)
    refuse_taken(LOOPBACK, port)
    assert await endpoint.start(take) == port
    await endpoint.close()


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(SettingInvalid, match=r"receipts.host = '192.0.2.77'"):
        refuse_taken("192.0.2.77", 8090)
