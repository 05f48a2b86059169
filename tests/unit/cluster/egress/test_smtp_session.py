"""The end of a mail's data, without a network: what was written when, and what a silence means."""

import asyncio
from collections.abc import Callable
from typing import Any

import aiosmtplib
import pytest

from cluster.egress.smtp_session import SmtpServer, SmtpSession
from pipeline.connectors.smtp.codec import Mail
from pipeline.connectors.smtp.replies import Verdict
from pipeline.connectors.smtp.tls_mode import TlsMode
from pipeline.instant import DurationMs
from pipeline.lifecycle import Event

MAIL = Mail("bounce+01@acme.example", "ann@example.org", False, b"Subject: x\r\n\r\nhello\r\n")
KEY = "01" * 16
LOST = aiosmtplib.SMTPServerDisconnected("Connection lost")
SILENT = aiosmtplib.SMTPReadTimeoutError("Timed out")
GARBLED = aiosmtplib.SMTPResponseException(-1, "Malformed SMTP response line: x")
YES = [(250, "ok"), (250, "ok"), (354, "go on"), (250, "2.0.0 Ok: queued as A1")]

Answer = tuple[int, str] | Exception


class Wire(asyncio.Transport):
    """The server, the library and the connection, as far as the session sees them."""

    def __init__(self, answers: list[Answer], *, extensions: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.answers = list(answers)
        self.written: list[bytes] = []
        self.unsent_looks = 0  # how often the text is found waiting in the buffer
        self.is_connected = True
        self.was_aborted = False
        self.extensions = extensions
        self.transport = self
        self.protocol = self

    async def execute_command(self, *words: bytes, timeout: float) -> tuple[int, str]:  # noqa: ASYNC109
        self.written.append(b" ".join(words))
        return self.answer()

    async def read_response(self, timeout: float) -> tuple[int, str]:  # noqa: ASYNC109
        return self.answer()

    def answer(self) -> tuple[int, str]:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def write(self, data: Any) -> None:
        if not self.is_connected:
            raise LOST
        self.written.append(bytes(data))

    def get_write_buffer_size(self) -> int:
        self.unsent_looks -= 1
        return max(0, self.unsent_looks)

    def is_closing(self) -> bool:
        return not self.is_connected

    def abort(self) -> None:
        self.was_aborted = True
        self.is_connected = False

    def close(self) -> None:
        self.is_connected = False

    def supports_extension(self, name: str) -> bool:
        return name in self.extensions


def session_on(wire: Wire, *, wants_confirmations: bool = False) -> SmtpSession:
    session = SmtpSession(
        SmtpServer(
            host="mx.example",
            port=25,
            tls=TlsMode.NONE,
            hello="acme.example",
            wants_confirmations=wants_confirmations,
            connect_timeout_ms=DurationMs(1_000),
            command_timeout_ms=DurationMs(1_000),
            answer_timeout_ms=DurationMs(1_000),
        )
    )
    session._smtp = wire  # type: ignore[assignment]
    return session


def transact(
    wire: Wire, *, may_leave: Callable[[], bool] = lambda: True, mail: Mail = MAIL
) -> Verdict | None:
    return asyncio.run(session_on(wire).transact(mail, key=KEY, may_leave=may_leave))


def test_a_mail_is_said_in_order_and_the_dot_comes_last() -> None:
    wire = Wire([*YES])
    verdict = transact(wire)
    assert verdict is not None
    assert (verdict.event, verdict.reference) == (Event.TAKE, "A1")
    assert wire.written == [
        b"MAIL FROM:<bounce+01@acme.example>",
        b"RCPT TO:<ann@example.org>",
        b"DATA",
        MAIL.content,
        b".\r\n",
    ]
    assert wire.is_connected


def test_a_server_that_can_is_told_more() -> None:
    wire = Wire([*YES], extensions=("size", "dsn", "smtputf8"))
    session = session_on(wire, wants_confirmations=True)
    mail = MAIL._replace(recipient="žofie@example.org", needs_utf8=True)
    asyncio.run(session.transact(mail, key=KEY, may_leave=lambda: True))
    assert wire.written[:2] == [
        f"MAIL FROM:<{mail.sender}> SIZE={len(mail.content)} SMTPUTF8 BODY=8BITMIME"
        f" RET=HDRS ENVID={KEY}".encode(),
        "RCPT TO:<žofie@example.org> NOTIFY=SUCCESS,FAILURE".encode(),
    ]


def test_an_address_beyond_ascii_is_refused_where_the_server_takes_none() -> None:
    wire = Wire([])
    verdict = transact(wire, mail=MAIL._replace(recipient="ö@b.example", needs_utf8=True))
    assert verdict is not None
    assert verdict.event is Event.REFUSE
    assert not wire.written


@pytest.mark.parametrize("silence", [LOST, SILENT, ConnectionResetError("reset"), GARBLED])
@pytest.mark.parametrize("step", [0, 1, 2])
def test_before_the_dot_a_silence_is_no_acceptance(step: int, silence: Exception) -> None:
    wire = Wire([*YES[:step], silence])
    verdict = transact(wire)
    assert verdict is not None
    assert verdict.event is Event.DEFER
    assert wire.was_aborted
    assert MAIL.content not in wire.written


@pytest.mark.parametrize("silence", [LOST, SILENT, ConnectionResetError("reset"), GARBLED])
def test_after_the_dot_a_silence_is_no_failure(silence: Exception) -> None:
    wire = Wire([*YES[:3], silence])
    verdict = transact(wire)
    assert verdict is not None
    assert verdict.event is Event.LOSE_ANSWER
    assert wire.was_aborted


def test_a_dot_that_was_not_written_ended_nothing() -> None:
    """The connection breaks while the text goes out."""
    wire = Wire([*YES])
    leaves = iter([True, True])

    def may_leave() -> bool:
        if b"DATA" in wire.written:
            wire.is_connected = False
        return next(leaves)

    verdict = transact(wire, may_leave=may_leave)
    assert verdict is not None
    assert verdict.event is Event.DEFER
    assert b".\r\n" not in wire.written


def test_too_late_for_the_first_word_nothing_is_said() -> None:
    wire = Wire([])
    assert transact(wire, may_leave=lambda: False) is None
    assert not wire.written
    assert wire.is_connected


def test_too_late_for_the_dot_it_is_never_written() -> None:
    wire = Wire([*YES])
    leaves = iter([True, False])
    assert transact(wire, may_leave=lambda: next(leaves)) is None
    assert wire.written[-1] == MAIL.content
    assert wire.was_aborted


async def test_the_clock_is_asked_when_the_text_has_left_this_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wire = Wire([*YES])
    wire.unsent_looks = 4
    looks: list[int] = []

    async def at_once(_seconds: float) -> None:
        return

    monkeypatch.setattr(asyncio, "sleep", at_once)

    def may_leave() -> bool:
        looks.append(wire.unsent_looks)
        return True

    verdict = await session_on(wire).transact(MAIL, key=KEY, may_leave=may_leave)
    assert verdict is not None
    assert verdict.event is Event.TAKE
    assert looks[0] == 4
    assert looks[1] <= 0


@pytest.mark.parametrize(
    ("answers", "needs_reset"),
    [
        pytest.param(YES, False, id="taken"),
        pytest.param([*YES[:3], (554, "no")], False, id="refused at its end"),
        pytest.param([YES[0], (550, "no")], True, id="refused in the middle"),
    ],
)
def test_what_was_left_in_the_middle_has_to_be_reset(
    answers: list[Answer], needs_reset: bool
) -> None:
    session = session_on(Wire(answers))
    asyncio.run(session.transact(MAIL, key=KEY, may_leave=lambda: True))
    assert session.is_usable
    assert session.needs_reset == needs_reset


@pytest.mark.parametrize(
    ("answer", "is_alive"), [((250, "ok"), True), ((421, "bye"), False), (LOST, False)]
)
def test_a_connection_that_cannot_be_reset_is_dead(answer: Answer, is_alive: bool) -> None:
    session = session_on(Wire([answer]))
    session.distrust()
    assert session.needs_reset
    assert asyncio.run(session.reset()) == is_alive
    assert session.needs_reset != is_alive


def test_a_good_bye_does_not_wait() -> None:
    wire = Wire([])
    session_on(wire).quit()
    assert wire.written == [b"QUIT\r\n"]
    assert not wire.is_connected


def test_a_servers_password_is_not_shown() -> None:
    server = SmtpServer(
        host="mx.example",
        port=25,
        hello="acme.example",
        password="s3cret",
        connect_timeout_ms=DurationMs(1),
        command_timeout_ms=DurationMs(1),
        answer_timeout_ms=DurationMs(1),
    )
    assert "s3cret" not in repr(server)
