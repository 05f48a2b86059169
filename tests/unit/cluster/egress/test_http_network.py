"""What was judged is what is connected to."""

from collections.abc import Sequence

import httpcore
import pytest

from cluster.egress.http_addresses import AddressRules
from cluster.egress.http_network import CheckedNetwork, ForbiddenAddress
from tests.support.fake_network import ADDRESS, FakeNetwork

OTHER = "93.184.215.15"
PRIVATE = "10.0.0.1"


class Names:
    """A name server whose answers change with every question."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self._answers = list(answers)
        self.asked = 0

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked += 1
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


def network(names: Names, under: FakeNetwork, *networks: str) -> CheckedNetwork:
    return CheckedNetwork(
        rules=AddressRules.allowing(networks, [80, 443]), resolve=names, under=under
    )


async def test_a_connection_goes_to_the_address_and_not_to_the_name() -> None:
    under = FakeNetwork()
    await network(Names([ADDRESS]), under).connect_tcp("hooks.example", 443)
    assert under.connected == [(ADDRESS, 443)]


async def test_a_name_that_changes_between_check_and_connection_is_asked_once() -> None:
    under = FakeNetwork()
    names = Names([ADDRESS], [PRIVATE])
    checked = network(names, under)
    await checked.connect_tcp("rebinding.example", 80)
    assert (names.asked, under.connected) == (1, [(ADDRESS, 80)])
    # The next connection is judged anew.
    with pytest.raises(ForbiddenAddress):
        await checked.connect_tcp("rebinding.example", 80)
    assert under.connected == [(ADDRESS, 80)]


@pytest.mark.parametrize("addresses", [[PRIVATE], [ADDRESS, PRIVATE], [PRIVATE, ADDRESS]])
async def test_one_address_that_is_forbidden_forbids_the_host(addresses: list[str]) -> None:
    under = FakeNetwork()
    with pytest.raises(ForbiddenAddress):
        await network(Names(addresses), under).connect_tcp("mixed.example", 80)
    assert not under.connected


async def test_a_port_that_is_not_allowed_is_not_looked_up() -> None:
    under, names = FakeNetwork(), Names([ADDRESS])
    with pytest.raises(ForbiddenAddress, match="port 22"):
        await network(names, under).connect_tcp("hooks.example", 22)
    assert (names.asked, under.connected) == (0, [])


async def test_the_next_address_is_tried_where_one_cannot_be_reached() -> None:
    under = FakeNetwork(connects=[httpcore.ConnectError("refused"), None])
    await network(Names([ADDRESS, OTHER]), under).connect_tcp("two.example", 80)
    assert under.connected == [(ADDRESS, 80), (OTHER, 80)]


async def test_where_none_can_be_reached_the_last_error_is_told() -> None:
    under = FakeNetwork(connects=[httpcore.ConnectError("one"), httpcore.ConnectError("two")])
    with pytest.raises(httpcore.ConnectError, match="two"):
        await network(Names([ADDRESS, OTHER]), under).connect_tcp("two.example", 80)


async def test_a_name_without_addresses_is_an_error_of_the_network() -> None:
    with pytest.raises(OSError, match="no address"):
        await network(Names([]), FakeNetwork()).connect_tcp("none.example", 80)


async def test_sockets_of_this_machine_and_retries_are_no_part_of_it() -> None:
    checked = network(Names([ADDRESS]), FakeNetwork())
    with pytest.raises(ForbiddenAddress):
        await checked.connect_unix_socket("/run/docker.sock")
    with pytest.raises(AssertionError):
        await checked.sleep(1)
