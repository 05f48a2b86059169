"""Mail through real connections: every way a server can answer, and what it means for a message."""

import asyncio
import json
import socket
from pathlib import Path

import pytest

from cluster.egress.simulator.modes import Mode
from cluster.egress.smtp_pool import SmtpPool
from cluster.runtime.clock import SystemClock
from pipeline.instant import Instant, later
from pipeline.lifecycle import Event
from pipeline.message import Body, MessageId
from pipeline.outcome import HandOver, ProviderClass
from pipeline.ports import ClockReading
from tests.support.fake_clock import NOW, FakeClock
from tests.support.free_port import free_port
from tests.support.mail_office import (
    LANE,
    PATIENCE_MS,
    Reports,
    hand_over,
    open_office,
    submitted,
)
from tests.support.until import until

T, D, R, L, N = Event.TAKE, Event.DEFER, Event.REFUSE, Event.LOSE_ANSWER, Event.NOT_SENT


async def test_what_is_taken_has_the_name_in_the_servers_queue(tmp_path: Path) -> None:
    async with open_office(tmp_path) as office:
        connector = office.connector()
        assert (connector.provider_class, connector.has_receipts) == (ProviderClass.NONE, False)
        reports = await submitted(connector, hand_over(["ann@example.org"]))
        await connector.close()
    (told,) = reports.by_position.values()
    assert (told.event, told.reference) == (T, "SIM-000000000000")
    (line,) = office.seen
    assert (line.key, line.recipient, line.took) == ("0" * 32, "ann@example.org", True)


# Long enough for the messages beside it, which are answered.
SILENCES = {
    "at-rcpt-hang": {"command_timeout_ms": 2_000},
    "at-end-hang": {"answer_timeout_ms": 2_000},
}


@pytest.mark.parametrize(
    ("recipient", "event", "detail"),
    [
        ("at-rcpt-450", D, "RCPT: 450 4.0.0 as asked"),
        ("at-rcpt-421", D, "RCPT: 421 4.0.0 as asked"),
        ("at-rcpt-550", R, "RCPT: 550 5.0.0 as asked"),
        ("at-rcpt-530", D, "RCPT: 530 5.0.0 as asked"),
        ("at-rcpt-hang", D, "RCPT: no answer in time"),
        ("at-rcpt-reset", D, "RCPT: connection lost"),
        ("at-data-451", D, "DATA: 451 4.0.0 as asked"),
        ("at-data-554", R, "DATA: 554 5.0.0 as asked"),
        ("at-data-reset", D, "DATA: connection lost"),
        ("at-end-451", D, "end of data: 451 4.0.0 as asked"),
        ("at-end-421", D, "end of data: 421 4.0.0 as asked"),
        ("at-end-552", R, "end of data: 552 5.0.0 as asked"),
        ("at-end-354", L, "end of data: 354 3.0.0 as asked"),
        ("at-end-hang", L, "end of data: no answer in time"),
        ("at-end-reset", L, "end of data: connection lost"),
    ],
)
async def test_each_answer_to_each_command_means(
    tmp_path: Path, recipient: str, event: Event, detail: str
) -> None:
    async with open_office(tmp_path) as office:
        connector = office.connector(**SILENCES.get(recipient, {}))
        recipients = ["before@example.org", f"{recipient}@example.org", "after@example.org"]
        reports = await submitted(connector, hand_over(recipients))
        await connector.close()
    assert reports.events == [T, event, T]
    assert reports.by_position[1].detail == detail
    assert not reports.by_position[1].reference
    # Nothing was tried twice, neither by us nor by the library.
    assert sorted(line.recipient for line in office.seen) == sorted(recipients)


async def test_a_text_that_does_not_arrive_is_not_taken(tmp_path: Path) -> None:
    async with open_office(tmp_path) as office:
        connector = office.connector()
        text = "x" * 60_000
        reports = await submitted(connector, hand_over(["at-text-reset@b.example"], content=text))
        await connector.close()
    # Whether the reset was seen before the dot was written is chance; a take or a refusal is none.
    assert reports.events[0] in (D, L)
    assert not any(line.took for line in office.seen)


@pytest.mark.parametrize(
    ("mode", "event", "is_taken"),
    [
        (Mode.ACCEPT, T, True),
        (Mode.REFUSE, R, False),
        (Mode.GONE, R, False),
        (Mode.REDIRECT, R, False),
        (Mode.THROTTLE, D, False),
        (Mode.ERROR_BEFORE, D, False),
        (Mode.HANG_BEFORE, L, False),
        (Mode.HANG_AFTER, L, True),
        (Mode.RESET_BEFORE, L, False),
        (Mode.RESET_AFTER, L, True),
        (Mode.LATE, L, True),
    ],
)
async def test_each_mode_of_the_provider_means(
    tmp_path: Path, mode: Mode, event: Event, is_taken: bool
) -> None:
    modes = json.dumps({"rules": [{"modes": {mode: 1}}], "late_s": 30})
    async with open_office(tmp_path, modes=modes) as office:
        is_answered = mode not in (Mode.HANG_BEFORE, Mode.HANG_AFTER, Mode.LATE)
        connector = office.connector(answer_timeout_ms=PATIENCE_MS if is_answered else 2_000)
        recipients = [f"{name}@example.org" for name in ("ann", "bob", "cid")]
        reports = await submitted(connector, hand_over(recipients))
        await connector.close()
    assert reports.events == [event] * 3
    # Seen once each: nothing was repeated.
    assert sorted(line.recipient for line in office.seen) == recipients
    assert [line.took for line in office.seen] == [is_taken] * 3
    assert all(line.seen_before == 0 for line in office.seen)


async def test_an_answer_that_is_late_but_in_time_is_an_answer(tmp_path: Path) -> None:
    modes = '{"rules": [{"modes": {"late": 1}}], "late_s": 0.2}'
    async with open_office(tmp_path, modes=modes) as office:
        connector = office.connector()
        reports = await submitted(connector, hand_over(["ann@example.org"]))
        await connector.close()
    assert reports.events == [T]


@pytest.mark.parametrize(("reply", "event"), [("451 4.7.1 later", D), ("550 5.7.1 no", R)])
async def test_a_refused_sender_is_told(tmp_path: Path, reply: str, event: Event) -> None:
    async with open_office(tmp_path) as office:
        office.provider.replies_to_mail["0" * 32] = reply
        connector = office.connector()
        reports = await submitted(connector, hand_over(["ann@example.org", "bob@example.org"]))
        await connector.close()
    assert reports.events == [event, T]
    assert reports.by_position[0].detail == f"MAIL: {reply}"


async def test_a_slow_answer_holds_up_no_other(tmp_path: Path) -> None:
    modes = '{"rules": [{"modes": {"hang_after": 1}, "recipient": "slow@*"}]}'
    async with open_office(tmp_path, modes=modes) as office:
        connector = office.connector(connections_max=2)
        recipients = ["slow@example.org", *(f"a{n}@example.org" for n in range(20))]
        reports = Reports()
        sending = asyncio.create_task(connector.submit(hand_over(recipients), reports))
        await until(lambda: len(reports.by_position) == 20)
        assert 0 not in reports.by_position
        office.provider.break_all_off()
        await sending
        await connector.close()
    assert reports.events == [L, *[T] * 20]


# --- connections ----------------------------------------------------------------------------------


async def test_no_more_connections_than_allowed_carry_any_number_of_mails(tmp_path: Path) -> None:
    async with open_office(tmp_path) as office:
        connector = office.connector(connections_max=3)
        recipients = [f"a{n}@example.org" for n in range(40)]
        # As several lanes do it, at once.
        for reports in await asyncio.gather(
            *(submitted(connector, hand_over(recipients)) for _ in range(4))
        ):
            assert reports.events == [T] * 40
        assert office.provider.connections_count == 3
        assert office.provider.connections_open_max == 3
        # A mail that was answered leaves nothing behind to reset.
        assert office.provider.commands["RSET"] == 0
        await connector.close()


async def test_a_connection_is_used_again_after_a_refusal(tmp_path: Path) -> None:
    async with open_office(tmp_path) as office:
        connector = office.connector(connections_max=1)
        recipients = ["at-rcpt-550@b.example", "at-data-451@b.example", "ann@b.example"] * 3
        reports = await submitted(connector, hand_over(recipients))
        assert reports.events == [R, D, T] * 3
        assert office.provider.connections_count == 1
        assert office.provider.commands["RSET"] == 6
        await connector.close()


async def test_a_connection_is_not_used_again_after_a_silence(tmp_path: Path) -> None:
    async with open_office(tmp_path) as office:
        connector = office.connector(connections_max=1, answer_timeout_ms=2_000)
        recipients = ["at-end-hang@b.example", "ann@b.example"]
        reports = await submitted(connector, hand_over(recipients))
        assert reports.events == [L, T]
        assert office.provider.connections_count == 2
        await connector.close()


async def test_a_connection_carries_only_so_many_mails(tmp_path: Path) -> None:
    async with open_office(tmp_path) as office:
        connector = office.connector(connections_max=1, mails_max=4)
        reports = await submitted(connector, hand_over([f"a{n}@b.example" for n in range(10)]))
        assert reports.events == [T] * 10
        assert office.provider.connections_count == 3
        assert office.provider.connections_open_max <= 2  # one may still be closing
        await connector.close()


async def test_an_idle_connection_is_closed(tmp_path: Path) -> None:
    async with open_office(tmp_path) as office:
        connector = office.connector(idle_ms=50)
        assert (await submitted(connector, hand_over(["ann@b.example"]))).events == [T]
        await until(lambda: not office.provider.connections_open_count)
        assert (await submitted(connector, hand_over(["ann@b.example"]))).events == [T]
        await connector.close()


async def test_a_connection_that_the_server_closed_meanwhile_costs_no_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As if each had waited a while: then it is asked before a message is risked on it.
    monkeypatch.setattr("cluster.egress.smtp_pool._TRUSTED_S", -1.0)
    async with open_office(tmp_path) as office:
        connector = office.connector(connections_max=2)
        assert (await submitted(connector, hand_over(["ann@b.example"]))).events == [T]
        office.provider.break_all_off()
        assert (await submitted(connector, hand_over(["bob@b.example"]))).events == [T]
        await connector.close()
    assert [line.recipient for line in office.seen] == ["ann@b.example", "bob@b.example"]


async def test_a_server_that_is_not_there_has_nothing(tmp_path: Path) -> None:
    port = free_port()
    async with open_office(tmp_path) as office:
        connector = office.connector(port=port)
        reports = await submitted(connector, hand_over(["ann@b.example"] * 50))
        await connector.close()
    assert reports.events == [D] * 50
    assert f"127.0.0.1:{port}" in reports.by_position[0].detail
    assert len(reports.parts) == 1


async def test_a_server_that_says_nothing_has_nothing(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        async with open_office(tmp_path) as office:
            connector = office.connector(
                port=silent.getsockname()[1], connect_timeout_ms=200, connections_max=2
            )
            reports = await submitted(connector, hand_over(["ann@b.example"] * 5))
            await connector.close()
    assert reports.events == [D] * 5


async def test_a_server_that_takes_fewer_connections_gets_all_the_mail(tmp_path: Path) -> None:
    async with open_office(tmp_path) as office:
        office.provider.connections_allowed = 1
        connector = office.connector(connections_max=5)
        reports = await submitted(connector, hand_over([f"a{n}@b.example" for n in range(30)]))
        await connector.close()
    assert reports.events == [T] * 30


# --- the time to leave ----------------------------------------------------------------------------


class ClockThatJumps:
    """A real clock until it was asked `asks` times; from then on it is an hour later."""

    def __init__(self, asks: int) -> None:
        self._asks = asks
        self._clock = SystemClock()

    def now(self) -> Instant:
        self._asks -= 1
        now = self._clock.now()
        return now if self._asks >= 0 else later(now, 3_600_000)

    def reading(self) -> ClockReading:
        return ClockReading(wall=self.now(), boot_us=0)


async def test_nothing_leaves_after_its_time(tmp_path: Path) -> None:
    async with open_office(tmp_path) as office:
        connector = office.connector()
        handed = hand_over(["ann@b.example"] * 5, send_before=later(SystemClock().now(), -1))
        reports = await submitted(connector, handed)
        await connector.close()
    assert reports.events == [N] * 5
    assert not office.seen
    assert not office.provider.commands


async def test_the_clock_is_asked_until_just_before_the_dot(tmp_path: Path) -> None:
    """Whenever the time is over, the message has left for good or has not left at all."""
    outcomes = []
    for asks in range(12):
        folder = tmp_path / str(asks)
        folder.mkdir()
        async with open_office(folder) as office:
            connector = office.connector(clock=ClockThatJumps(asks))
            reports = await submitted(connector, hand_over(["ann@b.example"]))
            await connector.close()
            commands = dict(office.provider.commands)
        outcomes.append((reports.events[0], commands.get("DATA", 0)))
        assert [line.took for line in office.seen] == [True] * (reports.events == [T])
    # Before the first command; after the text and before the dot; and in time.
    assert outcomes.index((N, 0)) < outcomes.index((N, 1)) < outcomes.index((T, 1))
    assert outcomes == sorted(outcomes, key=[(N, 0), (N, 1), (T, 1)].index)


async def test_what_waits_for_a_connection_too_long_is_told_while_others_hang(
    tmp_path: Path,
) -> None:
    modes = '{"rules": [{"modes": {"hang_after": 1}, "recipient": "slow@*"}]}'
    async with open_office(tmp_path, modes=modes) as office:
        connector = office.connector(connections_max=1, clock=FakeClock())
        # From here on there is a connection, and the clock stands still: the first one leaves.
        warm = hand_over(["ann@b.example"], send_before=later(NOW, 30_000))
        assert (await submitted(connector, warm)).events == [T]
        reports = Reports()
        handed = hand_over(["slow@b.example"] * 4, send_before=later(NOW, 1_000))
        sending = asyncio.create_task(connector.submit(handed, reports))
        await until(lambda: len(reports.by_position) == 3)
        office.provider.break_all_off()
        await sending
        await connector.close()
    assert reports.events == [L, N, N, N]
    assert reports.parts == [[1, 2, 3], [0]]
    assert [line.recipient for line in office.seen] == ["ann@b.example", "slow@b.example"]


# --- what cannot be sent --------------------------------------------------------------------------


async def test_what_is_no_mail_is_refused_alone(tmp_path: Path) -> None:
    handed = hand_over(["ann@b.example", "bob@b.example\r\nRCPT TO:<eve@b.example>"])
    handed = HandOver(
        lane=LANE,
        message_ids=[*handed.message_ids, MessageId(b"c" * 16), MessageId(b"d" * 16)],
        attempts=[1] * 4,
        bodies=[*handed.bodies, Body(b"\xc1"), handed.bodies[0]],
        send_before=handed.send_before,
    )
    async with open_office(tmp_path) as office:
        connector = office.connector(connections_max=1)
        reports = await submitted(connector, handed)
        await connector.close()
    assert reports.events == [T, R, R, T]
    assert [line.recipient for line in office.seen] == ["ann@b.example"] * 2


async def test_a_break_nobody_thought_of_leaves_the_message_in_doubt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_office(tmp_path) as office:
        connector = office.connector(connections_max=1)

        def break_off(*_arguments: object) -> None:
            raise ZeroDivisionError

        with monkeypatch.context() as patch:
            patch.setattr("cluster.egress.smtp_session.judge_reply", break_off)
            reports = await submitted(connector, hand_over(["ann@b.example"]))
        assert reports.events == [L]
        assert (await submitted(connector, hand_over(["bob@b.example"]))).events == [T]
        await connector.close()


async def test_a_submit_that_is_cancelled_leaves_no_connection_in_the_middle(
    tmp_path: Path,
) -> None:
    pools: list[SmtpPool] = []

    def kept(pool: SmtpPool) -> SmtpPool:
        pools.append(pool)
        return pool

    async with open_office(tmp_path, modes="hang_after=1") as office:
        connector = office.connector(connections_max=1, wrap=kept)
        sending = asyncio.create_task(connector.submit(hand_over(["ann@b.example"]), print))
        await until(lambda: office.provider.commands["END"])
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        # The place is free again, and holds another connection.
        session = await pools[0].take()
        assert session.mails_count == 0
        pools[0].give_back(session)
        assert office.provider.connections_count == 2
        await connector.close()
