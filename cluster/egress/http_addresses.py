"""Where a request may go: what a tenant's URL must never reach from inside our network.

A list of what is forbidden and not what a library calls private: for `ipaddress` a metadata
service behind NAT64 (64:ff9b::a9fe:a9fe), 2002:7f00:1:: and a cloud's 168.63.129.16 are global.  Of
IPv6 only 2000::/3 is given out to anybody, so whatever lies outside is forbidden without being
named; an IPv4 address that is written as an IPv6 one is judged as what it is.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

Network = IPv4Network | IPv6Network

_FORBIDDEN_V4: Final = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",  # this network: reaches the machine itself
        "10.0.0.0/8",
        "100.64.0.0/10",  # carriers' own, and a cloud's metadata
        "127.0.0.0/8",
        "168.63.129.16/32",  # a cloud's metadata
        "169.254.0.0/16",  # link-local, where most metadata services live
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",  # relays from IPv6
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
    )
)
_GIVEN_OUT_V6: Final = IPv6Network("2000::/3")
_FORBIDDEN_V6: Final = tuple(
    IPv6Network(text)
    for text in (
        "2001::/23",  # protocols' own, tunnels that carry an IPv4 address
        "2001:db8::/32",
        "2002::/16",  # carries an IPv4 address
        "3fff::/20",
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressRules:
    """What may be reached: nothing that is forbidden, but for the networks that are named."""

    networks: tuple[Network, ...] = ()
    ports: frozenset[int] = frozenset({80, 443})

    @classmethod
    def allowing(cls, networks: Iterable[str], ports: Iterable[int]) -> "AddressRules":
        """Return the rules that allow networks like `10.20.0.0/16` and some ports."""
        return cls(
            networks=tuple(ip_network(network) for network in networks), ports=frozenset(ports)
        )

    def allows_port(self, port: int) -> bool:
        """Whether anything may be sent to the port."""
        return port in self.ports

    def allows(self, address: str) -> bool:
        """Whether anything may be sent to the address; what is no address may not be reached."""
        try:
            judged = ip_address(address)
        except ValueError:
            return False
        if isinstance(judged, IPv6Address) and judged.ipv4_mapped is not None:
            judged = judged.ipv4_mapped
        return any(judged in network for network in self.networks) or not _is_forbidden(judged)


def _is_forbidden(address: IPv4Address | IPv6Address) -> bool:
    if isinstance(address, IPv4Address):
        return any(address in network for network in _FORBIDDEN_V4)
    return address not in _GIVEN_OUT_V6 or any(address in network for network in _FORBIDDEN_V6)
