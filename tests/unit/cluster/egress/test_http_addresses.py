"""What a request may never reach, however it is written."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.egress.http_addresses import AddressRules

RULES = AddressRules()


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.255.255.254", "0.0.0.0", "10.1.2.3", "172.16.0.1", "172.31.255.255"),
        *("192.168.1.1", "169.254.169.254", "100.64.0.1", "100.100.100.200", "168.63.129.16"),
        *("192.0.0.192", "192.0.2.1", "198.18.0.1", "198.51.100.7", "203.0.113.9"),
        *("192.88.99.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255"),
        *("::", "::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1"),
        *("::ffff:0:127.0.0.1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "100::1", "2001::1"),
        *("2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:db8::1", "2002:7f00:1::", "3fff::1"),
        *("5f00::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1"),
        # What is no address is not reached: it would be looked up again.
        *("localhost", "0x7f.1", "2130706433", "127.1", "", "1.2.3.4:80"),
    ],
)
def test_it_is_forbidden(address: str) -> None:
    assert not RULES.allows(address)


@pytest.mark.parametrize(
    "address",
    [
        *("93.184.215.14", "8.8.8.8", "172.32.0.1", "100.128.0.1", "223.255.255.255"),
        *("2606:4700::1111", "2a00:1450:4001::1", "::ffff:8.8.8.8"),
    ],
)
def test_it_is_allowed(address: str) -> None:
    assert RULES.allows(address)


@given(st.ip_addresses())
def test_whatever_the_library_calls_private_is_forbidden(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    if address.is_private or address.is_multicast or address.is_reserved or address.is_link_local:
        # Of these only the mapped ones may be public.
        mapped = getattr(address, "ipv4_mapped", None)
        assert not RULES.allows(str(address)) or (mapped is not None and mapped.is_global)


def test_a_network_that_is_named_may_be_reached_and_its_neighbours_not() -> None:
    rules = AddressRules.allowing(["127.0.0.0/8", "fd00::/16"], [8080])
    assert rules.allows("127.0.0.1")
    assert rules.allows("::ffff:127.0.0.1")
    assert rules.allows("fd00::1")
    assert not rules.allows("10.0.0.1")
    assert not rules.allows("fd01::1")
    assert rules.allows_port(8080)
    assert not rules.allows_port(443)
