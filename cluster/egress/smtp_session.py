"""One connection to a mail server: aiosmtplib's for the commands, ours for the end of the data.

The library's own `data()` says of a time-out or a lost connection only that there was one, not
whether the final dot had been written; that is the whole difference between "not taken" and
"unknown".  So the text is written first, until nothing of it waits in this process, then the clock
is asked once more, and only then the dot is written.  A connection that is given up before that is
aborted: what waits in it is dropped, and a server that never saw the dot has no mail.

Nothing is ever repeated here.
"""

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import aiosmtplib

from pipeline.connectors.smtp.codec import Mail
from pipeline.connectors.smtp.replies import (
    Phase,
    Reply,
    Verdict,
    judge_reply,
    judge_silence,
    told,
)
from pipeline.connectors.smtp.tls_mode import TlsMode
from pipeline.errors import ShardpostError
from pipeline.instant import DurationMs
from pipeline.lifecycle import Event

# How often a slow reader is looked at while the text of a mail waits for it.
_LOOK_S: Final = 0.01
_MS_PER_S: Final = 1_000

MayLeave = Callable[[], bool]
"""Whether a message may still leave this process; asked again just before it does."""


class CannotConnect(ShardpostError):
    """The caller may try again later: no message was named to any server."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SmtpServer:
    """Where mail goes, and how it is spoken to."""

    host: str
    port: int
    tls: TlsMode = TlsMode.STARTTLS
    tls_context: ssl.SSLContext | None = None  # None only without TLS
    hello: str  # the name that we say hello with
    username: str = ""  # empty: no log-in
    password: str = field(default="", repr=False)
    wants_confirmations: bool = False  # ask for a report of each delivery (RFC 3461)
    connect_timeout_ms: DurationMs
    command_timeout_ms: DurationMs
    answer_timeout_ms: DurationMs  # to the final dot, when the server does its work


def tls_context(*, ca_file: Path | None = None, is_verified: bool = True) -> ssl.SSLContext:
    """Return what a server's certificate is held against: the system's authorities, or a file's.

    Raises OSError if the file cannot be read.
    """
    context = ssl.create_default_context(cafile=ca_file)
    if not is_verified:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


class SmtpSession:
    """A connection, used by one at a time."""

    def __init__(self, server: SmtpServer) -> None:
        self._server = server
        self._smtp = aiosmtplib.SMTP(
            hostname=server.host,
            port=server.port,
            local_hostname=server.hello,
            timeout=server.connect_timeout_ms / _MS_PER_S,
            use_tls=server.tls is TlsMode.IMPLICIT,
            start_tls=server.tls is TlsMode.STARTTLS,
            tls_context=server.tls_context,
            username=server.username or None,
            password=server.password if server.username else None,
        )
        self._is_clean = True
        self.mails_count = 0

    @property
    def is_usable(self) -> bool:
        """Whether another mail may go by this connection, as far as is known."""
        return self._smtp.is_connected

    @property
    def needs_reset(self) -> bool:
        """Whether it has to be asked for before the next mail: the last was left in the middle."""
        return not self._is_clean

    def distrust(self) -> None:
        """Ask before the next mail whether the connection still lives: it has waited a while."""
        self._is_clean = False

    async def open(self) -> None:
        """Connect, encrypt, say hello, log in.  Raises `CannotConnect`."""
        try:
            async with asyncio.timeout(self._server.connect_timeout_ms / _MS_PER_S):
                await self._smtp.connect()
                if self._smtp.is_ehlo_or_helo_needed:
                    await self._smtp.ehlo()
        except TimeoutError as error:
            self.abort()
            raise CannotConnect(f"{self._where}: no answer in time") from error
        except aiosmtplib.SMTPAuthenticationError as error:
            self.abort()
            # What was said to the server stays out of it.
            raise CannotConnect(f"{self._where}: log-in refused: {error.code}") from None
        except (aiosmtplib.SMTPException, OSError) as error:
            self.abort()
            raise CannotConnect(f"{self._where}: {_told_of(error)}") from error

    async def reset(self) -> bool:
        """Forget a mail that was left in the middle; return whether the connection still lives."""
        try:
            reply = await self._command(b"RSET")
        except (aiosmtplib.SMTPException, OSError):
            self.abort()
            return False
        self._is_clean = reply.code // 100 == 2
        return self._is_clean

    async def transact(self, mail: Mail, *, key: str, may_leave: MayLeave) -> Verdict | None:
        """Hand one mail over; return what became of it, None if it was too late and nothing left.

        A connection whose verdict says so, or that was cancelled in the middle, is not to be used
        again.
        """
        smtp = self._smtp
        if mail.needs_utf8 and not smtp.supports_extension("smtputf8"):
            detail = told(Phase.RCPT, "the server takes no address beyond ASCII (no SMTPUTF8)")
            return Verdict(event=Event.REFUSE, detail=detail, is_session_usable=True)
        if not may_leave():
            return None
        self.mails_count += 1
        self._is_clean = False
        phase = Phase.MAIL
        try:
            for phase, command in self._commands(mail, key=key):
                verdict = judge_reply(phase, await self._command(*command))
                if verdict is not None:
                    return self._settled(verdict)
            await self._write_out(mail.content)
            if not may_leave():
                self.abort()
                return None
            self._write(b".\r\n")
            phase = Phase.END
            verdict = judge_reply(phase, await self._answer())
        except aiosmtplib.SMTPResponseException as error:
            # Bytes that are no reply.
            verdict = judge_reply(phase, Reply(-1, error.message))
        except (aiosmtplib.SMTPException, OSError) as error:
            verdict = judge_silence(phase, _told_of(error))
        assert verdict is not None
        self._is_clean = phase is Phase.END
        return self._settled(verdict)

    def quit(self) -> None:
        """Say good-bye, and do not wait for the answer."""
        protocol = self._smtp.protocol
        if protocol is not None and protocol.is_connected:
            protocol.write(b"QUIT\r\n")
        self._smtp.close()

    def abort(self) -> None:
        """Drop the connection, and whatever waits in it."""
        transport = self._smtp.transport
        if isinstance(transport, asyncio.WriteTransport):
            transport.abort()
        self._smtp.close()

    def _commands(self, mail: Mail, *, key: str) -> list[tuple[Phase, tuple[bytes, ...]]]:
        offers = self._smtp.supports_extension
        from_options, to_options = [], []
        if offers("size"):
            from_options.append(b"SIZE=%d" % len(mail.content))
        if mail.needs_utf8:
            from_options += [b"SMTPUTF8", b"BODY=8BITMIME"]
        if offers("dsn"):
            from_options += [b"RET=HDRS", b"ENVID=" + key.encode()]
            if self._server.wants_confirmations:
                to_options.append(b"NOTIFY=SUCCESS,FAILURE")
        sender = b"FROM:<" + mail.sender.encode() + b">"
        recipient = b"TO:<" + mail.recipient.encode() + b">"
        return [
            (Phase.MAIL, (b"MAIL", sender, *from_options)),
            (Phase.RCPT, (b"RCPT", recipient, *to_options)),
            (Phase.DATA, (b"DATA",)),
        ]

    async def _command(self, *words: bytes) -> Reply:
        timeout_s = self._server.command_timeout_ms / _MS_PER_S
        return Reply(*await self._smtp.execute_command(*words, timeout=timeout_s))

    def _write(self, data: bytes) -> None:
        """Give bytes to the connection; raises if it certainly took none."""
        protocol = self._smtp.protocol
        if protocol is None:
            raise aiosmtplib.SMTPServerDisconnected("Connection lost")
        protocol.write(data)

    async def _write_out(self, content: bytes) -> None:
        """Write the text and wait until it has left this process."""
        self._write(content)
        transport = self._smtp.transport
        assert isinstance(transport, asyncio.WriteTransport)
        async with asyncio.timeout(self._server.command_timeout_ms / _MS_PER_S):
            # The library's own way to wait for this is not for its users; it is rarely needed.
            while transport.get_write_buffer_size() and not transport.is_closing():  # noqa: ASYNC110
                await asyncio.sleep(_LOOK_S)

    async def _answer(self) -> Reply:
        """Wait for what the server says of the mail."""
        protocol = self._smtp.protocol
        if protocol is None:
            raise aiosmtplib.SMTPServerDisconnected("Connection lost")
        timeout_s = self._server.answer_timeout_ms / _MS_PER_S
        return Reply(*await protocol.read_response(timeout=timeout_s))

    def _settled(self, verdict: Verdict) -> Verdict:
        if not verdict.is_session_usable:
            self.abort()
        return verdict

    @property
    def _where(self) -> str:
        return f"{self._server.host}:{self._server.port}"


def _told_of(error: Exception) -> str:
    match error:
        case ssl.SSLCertVerificationError():
            return f"its certificate is not trusted: {error.verify_message}"
        case TimeoutError():
            return "no answer in time"
        case aiosmtplib.SMTPServerDisconnected():
            return "connection lost"
        case aiosmtplib.SMTPResponseException():
            return f"{error.code} {error.message}"
        case aiosmtplib.SMTPException():
            return error.message
        case _:
            return str(error) or type(error).__name__
