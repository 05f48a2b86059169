"""How one POST ends: what did not leave may go again; what may have left has not failed."""

import socket
from collections.abc import Callable, Sequence

import httpcore
import pytest

from cluster.egress.http_addresses import AddressRules
from cluster.egress.http_sender import ANSWER_BYTES_MAX, HttpSender, LeaveBy
from pipeline.connectors.webhook.answer import (
    AddressForbidden,
    Answered,
    AnswerLost,
    Exchange,
    NotConnected,
    TooLate,
    Unsendable,
)
from pipeline.connectors.webhook.request import HookRequest
from pipeline.instant import DurationMs, later
from tests.support.fake_clock import NOW, FakeClock
from tests.support.fake_network import ADDRESS, OK, FakeNetwork

URL = "https://hooks.example/in?a=b"


async def public(_host: str, _port: int) -> Sequence[str]:
    return [ADDRESS]


def sender_over(
    network: FakeNetwork,
    *,
    clock: FakeClock | None = None,
    resolve: Callable[[str, int], object] = public,
    answer_timeout_ms: int = 60_000,
    connect_timeout_ms: int = 60_000,
) -> HttpSender:
    return HttpSender(
        clock=clock or FakeClock(),
        rules=AddressRules(),
        resolve=resolve,  # type: ignore[arg-type]
        connect_timeout_ms=DurationMs(connect_timeout_ms),
        answer_timeout_ms=DurationMs(answer_timeout_ms),
        idle_max=4,
        network=network,
    )


async def post(
    sender: HttpSender, *, url: str = URL, clock: FakeClock | None = None, content: bytes = b"{}"
) -> Exchange:
    leave_by = LeaveBy.at(later(NOW, 1_000), clock=clock or FakeClock())
    return await sender.send(HookRequest(url, [("webhook-id", "k")], content), leave_by=leave_by)


async def test_a_request_names_the_host_and_goes_to_its_address() -> None:
    network = FakeNetwork(OK)
    assert await post(sender_over(network)) == Answered(status=200)
    assert network.connected == [(ADDRESS, 443)]
    assert network.named == ["hooks.example"]
    head, _, content = network.written.partition(b"\r\n\r\n")
    assert head.split(b"\r\n") == [
        b"POST /in?a=b HTTP/1.1",
        b"host: hooks.example",
        b"content-length: 2",
        b"webhook-id: k",
    ]
    assert content == b"{}"


async def test_a_connection_is_used_again_and_closed_in_the_end() -> None:
    network = FakeNetwork(OK, OK)
    sender = sender_over(network)
    assert await post(sender) == await post(sender) == Answered(status=200)
    assert len(network.connected) == 1
    await sender.close()
    assert network.closed_count == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_an_answer_and_never_followed(status: int) -> None:
    location = "location: https://other.example/"
    network = FakeNetwork(
        f"HTTP/1.1 {status} x\r\n{location}\r\ncontent-length: 0\r\n\r\n".encode()
    )
    assert await post(sender_over(network)) == Answered(status=status)
    assert network.written.count(b"POST") == 1
    assert len(network.connected) == 1


@pytest.mark.parametrize(
    "network",
    [
        pytest.param(FakeNetwork(httpcore.ReadError("reset")), id="reset"),
        pytest.param(FakeNetwork(httpcore.ReadTimeout()), id="the client's own time-out"),
        pytest.param(FakeNetwork(b""), id="closed without an answer"),
        pytest.param(FakeNetwork(b"SSH-2.0\r\n\r\n"), id="no HTTP"),
        pytest.param(FakeNetwork(b"x" * 200_000), id="a head without end"),
        pytest.param(FakeNetwork(OSError("odd")), id="an error of another kind"),
        pytest.param(FakeNetwork(RuntimeError("bug")), id="a bug"),
        pytest.param(
            FakeNetwork(b"", write_error=httpcore.WriteError("reset")), id="while it was written"
        ),
    ],
)
async def test_whatever_goes_wrong_once_it_left_is_a_lost_answer(network: FakeNetwork) -> None:
    assert isinstance(await post(sender_over(network)), AnswerLost)
    assert len(network.connected) == 1


async def test_a_time_out_after_it_left_is_a_lost_answer() -> None:
    exchange = await post(sender_over(FakeNetwork(None), answer_timeout_ms=1))
    assert exchange == AnswerLost("no answer within 1 ms")


@pytest.mark.parametrize(
    "error",
    [httpcore.ConnectError("refused"), httpcore.ConnectTimeout(), OSError("odd"), KeyError("bug")],
)
async def test_whatever_goes_wrong_before_is_no_connection(error: Exception) -> None:
    network = FakeNetwork(connects=[error])
    assert isinstance(await post(sender_over(network)), NotConnected)
    assert not network.written


async def test_a_handshake_that_hangs_is_no_connection_and_leaves_none_open() -> None:
    network = FakeNetwork(tls_hangs=True)
    exchange = await post(sender_over(network, connect_timeout_ms=1))
    assert exchange == NotConnected("no connection within 1 ms")
    assert (len(network.connected), network.closed_count) == (1, 1)


async def test_a_name_that_is_not_found_is_no_connection() -> None:
    async def nowhere(_host: str, _port: int) -> Sequence[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    assert isinstance(await post(sender_over(FakeNetwork(), resolve=nowhere)), NotConnected)


async def test_a_forbidden_address_is_told_as_such() -> None:
    async def loopback(_host: str, _port: int) -> Sequence[str]:
        return ["127.0.0.1"]

    network = FakeNetwork()
    assert isinstance(await post(sender_over(network, resolve=loopback)), AddressForbidden)
    assert not network.connected


async def test_the_time_to_leave_is_looked_at_just_before_it_leaves() -> None:
    clock = FakeClock()

    async def slow(_host: str, _port: int) -> Sequence[str]:
        clock.advance(1_000)
        return [ADDRESS]

    network = FakeNetwork(OK)
    sender = sender_over(network, clock=clock, resolve=slow)
    assert await post(sender, clock=clock) == TooLate()
    assert network.connected
    assert not network.written


async def test_a_clock_that_was_set_back_does_not_let_it_leave_later() -> None:
    clock, network = FakeClock(), FakeNetwork(OK)
    leave_by = LeaveBy.at(later(NOW, 1_000), clock=clock)
    clock.advance(1_000)
    clock.step_wall(-3_600_000)
    request = HookRequest(URL, [], b"")
    assert await sender_over(network, clock=clock).send(request, leave_by=leave_by) == TooLate()
    assert not network.connected


@pytest.mark.parametrize(
    "url", ["ftp://a.example", "https://user@a.example/", "https:///in", "https://a.example:99999/"]
)
async def test_what_is_no_url_of_ours_is_not_sent(url: str) -> None:
    network = FakeNetwork()
    assert isinstance(await post(sender_over(network), url=url), Unsendable)
    assert not network.connected


async def test_a_header_that_cannot_be_one_is_not_sent_and_not_tried_again() -> None:
    network = FakeNetwork(OK)
    request = HookRequest(URL, [("webhook-id", "k\r\nx: y")], b"")
    leave_by = LeaveBy.at(later(NOW, 1_000), clock=FakeClock())
    assert isinstance(await sender_over(network).send(request, leave_by=leave_by), Unsendable)
    assert not network.written


async def test_no_more_of_an_answer_is_read_than_is_used() -> None:
    part = b"x" * 10_000
    head = b"HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n"
    network = FakeNetwork(head, *[part] * 50)
    exchange = await post(sender_over(network))
    assert isinstance(exchange, Answered)
    assert len(exchange.body) == ANSWER_BYTES_MAX
    assert len(network.answers) > 40
    assert network.closed_count


@pytest.mark.parametrize("end", [None, httpcore.ReadError("reset"), b""])
async def test_a_status_counts_although_the_rest_of_the_answer_does_not_come(
    end: Exception | bytes | None,
) -> None:
    head = b"HTTP/1.1 202 Accepted\r\nretry-after: 3\r\ncontent-length: 10\r\n\r\n"
    exchange = await post(sender_over(FakeNetwork(head, end), answer_timeout_ms=20))
    assert exchange == Answered(status=202, retry_after="3")


async def test_a_connection_that_broke_is_not_used_again() -> None:
    network = FakeNetwork(httpcore.ReadError("reset"), OK)
    sender = sender_over(network)
    assert isinstance(await post(sender), AnswerLost)
    assert await post(sender) == Answered(status=200)
    assert len(network.connected) == 2
