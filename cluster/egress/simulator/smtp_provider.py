"""The provider's SMTP side: takes mail for any recipient, and treats each as the modes say.

A mail is known by the envelope's sender, `bounce+ID@...`, which names its message.  It never drops
a repeat: no mail server does.  A recipient may ask for what it gets: `at-rcpt-450@`, `at-end-554@`,
`at-data-hang@`, `at-text-reset@`: a reply's code, no reply, or a broken connection, to RCPT, to
DATA, while the text comes (`text`), or to its final dot (`end`).
"""

import asyncio
import re
import socket
import ssl
import struct
from collections import Counter
from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Any, Final

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from cluster.egress.simulator.log import LogLine, ProviderLog
from cluster.egress.simulator.modes import PROCESSED, Chooser, Mode
from cluster.egress.simulator.pace import Pace
from cluster.egress.simulator.smtp_bounces import BounceWriter
from pipeline.connectors.smtp.mime_parts import split_mail

_CHANNEL: Final = "email"
_RATE_LIMITED: Final = "rate_limited"
_DATA_BYTES_MAX: Final = 1024 * 1024
_CLOSE_S: Final = 0.01
_CLOSE_LOOKS_MAX: Final = 100

_key_of_sender: Final = re.compile(r"\bbounce\+([0-9a-f]{32})@").search
_asked: Final = re.compile(r"^at-(rcpt|data|text|end)-([13-9]\d\d|hang|reset)\b").search
# What only servers with the DSN extension understand (RFC 3461).
_dsn_words: Final = re.compile(r"\s+(?:RET|ENVID|NOTIFY|ORCPT)=\S+", re.IGNORECASE)

# To RCPT, where the recipient is known; the others answer the final dot.
_AT_RCPT: Final[Mapping[Mode, str]] = {
    Mode.GONE: "550 5.1.1 nobody is here any more",
    Mode.REDIRECT: "551 5.1.6 it moved elsewhere",
    Mode.THROTTLE: "421 4.7.0 too many, closing",
}
_AT_END: Final[Mapping[Mode, str]] = {
    Mode.REFUSE: "554 5.7.1 the provider refuses it",
    # A server that takes a mail says so, or nothing: there is no "after" for an error.
    Mode.ERROR_BEFORE: "451 4.3.0 something broke",
    Mode.ERROR_AFTER: "451 4.3.0 something broke",
}


class SmtpProvider:
    """One server; `now_us` is the wall clock.

    `users` None: nobody has to log in; a log-in needs STARTTLS.  `bounces` writes reports of what
    became of the mails.
    """

    name = "smtp"

    def __init__(
        self,
        *,
        chooser: Chooser,
        log: ProviderLog,
        host: str,
        port: int,
        now_us: Callable[[], int],
        tls_context: ssl.SSLContext | None = None,
        is_tls_implicit: bool = False,
        users: Mapping[str, str] | None = None,
        bounces: BounceWriter | None = None,
    ) -> None:
        self.chooser = chooser
        self._log = log
        self._host = host
        self._port = port
        self._now_us = now_us
        self._tls_context = tls_context
        self._is_tls_implicit = is_tls_implicit
        self._users = users
        self._bounces = bounces
        self._server: asyncio.Server | None = None
        self._open: set[_Connection] = set()
        self.pace = Pace()
        self.modes: Counter[str] = Counter()
        self.commands: Counter[str] = Counter()
        self.connections_allowed: int | None = None
        self.connections_count = 0
        self.connections_open_max = 0
        # By key: what MAIL is answered, as nothing else is known there.
        self.replies_to_mail: dict[str, str] = {}

    async def start(self) -> int:
        """Listen, and return the port."""
        self._server = await asyncio.get_running_loop().create_server(
            lambda: _Connection(self),
            self._host,
            self._port,
            ssl=self._tls_context if self._is_tls_implicit else None,
        )
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def close(self) -> None:
        """Break off what is on its way."""
        if self._server is not None:
            self._server.close()
        self.break_all_off()
        for _ in range(_CLOSE_LOOKS_MAX):
            if not self._open:
                break
            await asyncio.sleep(_CLOSE_S)
        if self._bounces is not None:
            await self._bounces.close()

    def break_all_off(self) -> None:
        """Break every connection."""
        for connection in list(self._open):
            connection.break_off()

    @property
    def connections_open_count(self) -> int:
        """How many clients are connected."""
        return len(self._open)

    def options(self) -> dict[str, Any]:
        """Return what aiosmtpd is told for each connection."""
        return {
            "hostname": "simulator.invalid",
            "ident": "simulator",
            "enable_SMTPUTF8": True,
            "data_size_limit": _DATA_BYTES_MAX,
            "tls_context": None if self._is_tls_implicit else self._tls_context,
            "require_starttls": self._tls_context is not None and not self._is_tls_implicit,
            "auth_required": self._users is not None,
            # It does not see that a connection was encrypted from the start.
            "auth_require_tls": not self._is_tls_implicit,
            "authenticator": self._authenticate,
        }

    def connected(self, connection: "_Connection") -> bool:
        """Count a connection; return whether there may be so many."""
        if connection in self._open:
            # Encrypted from here on.
            return True
        self.connections_count += 1
        self._open.add(connection)
        self.connections_open_max = max(self.connections_open_max, len(self._open))
        return self.connections_allowed is None or len(self._open) <= self.connections_allowed

    def disconnected(self, connection: "_Connection") -> None:
        """Forget a connection."""
        self._open.discard(connection)

    def reply_to_mail(self, key: str) -> str | None:
        """Return what MAIL is refused with, None if it is not."""
        if reply := self.replies_to_mail.get(key):
            return reply
        if self.pace.lets_in(self.chooser.behaviour.rate, now_us=self._now_us()):
            return None
        self.modes[_RATE_LIMITED] += 1
        return "451 4.7.1 too many, come later"

    def mode_of(self, *, key: str, recipient: str) -> Mode:
        """Return how a mail is to be treated."""
        return self.chooser.mode(
            key=key, seen_before=self._log.requests[key], recipient=recipient, channel=_CHANNEL
        )

    async def note(
        self, *, key: str, sender: str, recipient: str, told: str, content: bytes | None
    ) -> None:
        """Write down a mail that was taken (`content` is what it says), or was not (None)."""
        self.modes[told] += 1
        took = content is not None
        seen_before = self._log.requests[key]
        self._log.requests[key] += 1
        if took:
            self._log.taken.add(key)
        await self._log.append(
            LogLine(
                at_us=self._now_us(),
                protocol=self.name,
                key=key,
                message_id=key,
                recipient=recipient,
                digest=_digest_of(content or b""),
                mode=told,
                took=took,
                was_new=took,
                seen_before=seen_before,
            )
        )
        if took and self._bounces is not None:
            self._bounces.after_taking(self.chooser, key=key, sender=sender, recipient=recipient)

    def _authenticate(
        self, _server: SMTP, _session: Session, _envelope: Envelope, _how: str, data: object
    ) -> AuthResult:
        users = self._users or {}
        is_known = (
            isinstance(data, LoginPassword)
            and users.get(data.login.decode()) == data.password.decode()
        )
        return AuthResult(success=is_known, handled=False)


class _Connection(SMTP):
    """One client's connection, as aiosmtpd speaks it, and as the provider breaks it."""

    def __init__(self, provider: SmtpProvider) -> None:
        self._provider = provider
        self._key = ""
        self._recipient = ""
        self._told = ""
        self._mode = Mode.ACCEPT
        super().__init__(self, **provider.options())

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count it, and go on."""
        is_allowed = self._provider.connected(self)
        super().connection_made(transport)
        if not is_allowed:
            assert isinstance(transport, asyncio.WriteTransport)
            transport.write(b"421 4.7.0 too many connections\r\n")
            transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        """Forget it."""
        self._provider.disconnected(self)
        super().connection_lost(error)

    def break_off(self) -> None:
        """End the connection with a reset, not politely."""
        transport = self.transport
        if transport is None:
            return
        peer = transport.get_extra_info("socket")
        if peer is not None:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        assert isinstance(transport, asyncio.WriteTransport)
        transport.abort()

    async def handle_EHLO(  # noqa: N802  # hooks are named for the commands
        self,
        _server: SMTP,
        session: Session,
        _envelope: Envelope,
        hostname: str,
        responses: list[str],
    ) -> list[str]:
        """Offer reports about deliveries, too."""
        session.host_name = hostname
        return [*responses[:-1], "250-DSN", responses[-1]]

    async def smtp_RSET(self, arg: str) -> None:  # noqa: N802
        """Count, and forget the mail."""
        self._provider.commands["RSET"] += 1
        await super().smtp_RSET(arg)

    async def smtp_MAIL(self, arg: str | None) -> None:  # noqa: N802
        """Begin a mail: its sender says which message it is."""
        self._provider.commands["MAIL"] += 1
        found = _key_of_sender(arg or "")
        self._key = found[1] if found else ""
        if reply := self._provider.reply_to_mail(self._key):
            self._told = f"mail_{reply[:3]}"
            self._recipient = ""
            await self._note(None)
            await self.push(reply)
            return
        await super().smtp_MAIL(_dsn_words.sub("", arg or ""))

    async def smtp_RCPT(self, arg: str | None) -> None:  # noqa: N802
        """Name its recipient, who may have asked for something."""
        self._provider.commands["RCPT"] += 1
        await super().smtp_RCPT(_dsn_words.sub("", arg or ""))

    async def handle_RCPT(  # noqa: N802
        self,
        _server: SMTP,
        _session: Session,
        envelope: Envelope,
        address: str,
        _options: list[str],
    ) -> str:
        """Choose how the mail is treated."""
        self._recipient = address
        self._mode = self._provider.mode_of(key=self._key, recipient=address)
        self._told = self._mode.value
        if _asked(address) is None and (reply := _AT_RCPT.get(self._mode)):
            await self._note(None)
            if reply.startswith("421"):
                self._close_soon()
            return reply
        if reply := await self._asked_at("rcpt"):
            return reply
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 ok"

    async def smtp_DATA(self, arg: str) -> None:  # noqa: N802
        """Let the text come, or not."""
        self._provider.commands["DATA"] += 1
        if reply := await self._asked_at("data"):
            await self.push(reply)
            return
        if _asked_for(self._recipient, "text"):
            await self.push("354 go on")
            await self._asked_at("text")
            return
        await super().smtp_DATA(arg)

    async def handle_DATA(  # noqa: N802
        self, _server: SMTP, _session: Session, envelope: Envelope
    ) -> str:
        """Take the mail, or not; and answer, or not."""
        self._provider.commands["END"] += 1
        if reply := await self._asked_at("end"):
            return reply
        behaviour = self._provider.chooser.behaviour
        is_taken = self._mode in PROCESSED and self._mode not in _AT_END
        assert isinstance(envelope.original_content, bytes)
        await self._note(envelope.original_content if is_taken else None)
        if reply := _AT_END.get(self._mode):
            return reply
        match self._mode:
            case Mode.LATE:
                await asyncio.sleep(behaviour.late_s)
            case Mode.HANG_BEFORE | Mode.HANG_AFTER:
                await asyncio.sleep(behaviour.hang_s)
                self.break_off()
            case Mode.RESET_BEFORE | Mode.RESET_AFTER:
                self.break_off()
            case _:
                pass
        return f"250 2.0.0 Ok: queued as SIM-{self._key[:12] or 'nobody'}"

    async def _asked_at(self, phase: str) -> str | None:
        """Return the reply that the recipient asked for at this point; hang or break where so."""
        what = _asked_for(self._recipient, phase)
        if what is None:
            return None
        self._told = f"{phase}_{what}"
        await self._note(None)
        if what.isdigit():
            reply = f"{what} {what[0]}.0.0 as asked"
            if what == "421":
                self._close_soon()
            return reply
        if what == "hang":
            await asyncio.sleep(self._provider.chooser.behaviour.hang_s)
        self.break_off()
        return "421 4.0.0 nobody hears this"

    def _close_soon(self) -> None:
        """Close the connection once the reply, which the caller sends, is out."""
        self.loop.call_later(_CLOSE_S, self._close_quietly)

    def _close_quietly(self) -> None:
        if self.transport is not None:
            self.transport.close()

    async def _note(self, content: bytes | None) -> None:
        assert self.envelope is not None
        await self._provider.note(
            key=self._key,
            sender=self.envelope.mail_from or "",
            recipient=self._recipient,
            told=self._told,
            content=content,
        )


def _asked_for(recipient: str, phase: str) -> str | None:
    found = _asked(recipient)
    return found[2] if found is not None and found[1] == phase else None


def _digest_of(mail: bytes) -> str:
    """Return the digest of the text that was submitted, without the newline that mails end with."""
    text = split_mail(mail).decoded().replace(b"\r\n", b"\n").removesuffix(b"\n")
    return blake2b(text, digest_size=16).hexdigest()
