"""What stands in front of a Cassandra node and makes it a ScyllaDB node to drivers.

It answers OPTIONS as a server with shards does, and says of each connection which shard it has
reached: at the shard-aware port that of the client's source port, else one after the other.  Every
connection has one of its own to the node behind.  It counts what comes to each shard, and breaks
requests and answers by rule.  Nothing of tablets or of LWT marks is offered: they would change
frames.
"""

import asyncio
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, NamedTuple

from cluster.topology.murmur import KEY_BYTES
from cluster.topology.ring import Ring
from cluster.topology.shard import shard_of
from cluster.topology.token import Token, token_of
from tests.cassandra import frames
from tests.cassandra.frames import HEAD, Opcode

PORT: Final = 9042
SHARD_AWARE_PORT: Final = 19042
IGNORE_MSB: Final = 12

_BUFFER_BYTES: Final = 8 << 20
_CONNECT_S_MAX: Final = 5
# Above the streams that a driver ever needs here.
_OWN_STREAM_FIRST: Final = 30_000
_OWN_STREAM_LAST: Final = 32_000

_CARRIERS: Final = (Opcode.QUERY, Opcode.EXECUTE, Opcode.BATCH)


class Break(Enum):
    """What becomes of a request that a rule names."""

    REFUSE = "answered at once: certainly nothing was done"
    LOSE = "done, and answered: it is not known whether it was done"
    DROP_ANSWER = "done, and never answered"
    DELAY = "passed on later"
    TWICE = "done twice, answered once"
    CUT = "the connection is reset before it is passed on"
    CUT_ANSWER = "done, and the connection is reset in the middle of the answer"


@dataclass
class Rule:
    """Breaks those of the next requests that the condition names; `hits` counts them."""

    does: Break
    condition: Callable[[str], bool]  # of a statement's text; a batch's is that of its first
    left: int = 1 << 30
    after: int = 0  # so many are let through first
    delay_s: float = 0.5
    hits: int = 0

    def takes(self, text: str) -> bool:
        """Return whether this request is to be broken, and count it."""
        if self.left <= 0 or not self.condition(text):
            return False
        if self.after > 0:
            self.after -= 1
            return False
        self.left -= 1
        self.hits += 1
        return True


class Counted(NamedTuple):
    """One kind of request at one shard."""

    shard: int
    opcode: Opcode
    text: str


class _Half(asyncio.Protocol):
    """One direction of a link: cuts the stream into frames."""

    def __init__(self, link: "_Link", on_frame: Callable[[bytes], bytes | None]) -> None:
        self.link = link
        self.on_frame = on_frame
        self.buffer = bytearray()
        self.transport: asyncio.Transport | None = None
        self.other: _Half | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.set_write_buffer_limits(_BUFFER_BYTES)
        # Closing it resets it, as a server does that is killed while it is busy.
        connection = transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if self is self.link.client:
            self.link.accepted(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self.link.reset()

    def pause_writing(self) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        buffer = self.buffer
        buffer += data
        place, passed = 0, bytearray()
        while len(buffer) - place >= HEAD.size:
            length = HEAD.unpack_from(buffer, place)[4]
            end = place + HEAD.size + length
            if len(buffer) < end:
                break
            if frame := self.on_frame(bytes(buffer[place:end])):
                passed += frame
            place = end
        del buffer[:place]
        if passed and self.other is not None:
            self.other.write(bytes(passed))

    def write(self, frame: bytes) -> None:
        if self.transport is not None and not self.link.is_closed:
            self.transport.write(frame)


class _Link:
    """A client's connection, and the one behind it."""

    def __init__(self, front: "Front", *, is_shard_aware: bool) -> None:
        self.front = front
        self.is_shard_aware = is_shard_aware
        self.is_closed = False
        self.shard = 0
        self.preparing: dict[int, str] = {}
        self.broken: dict[int, Break] = {}  # by stream: what becomes of the answer
        self.own_stream = _OWN_STREAM_FIRST
        self.client = _Half(self, self.request)
        self.server = _Half(self, self.answer)
        self.client.other, self.server.other = self.server, self.client

    def accepted(self, transport: asyncio.Transport) -> None:
        source_port: int = transport.get_extra_info("peername")[1]
        self.shard = self.front.shard_of_link(source_port if self.is_shard_aware else None)
        self.front.links.add(self)
        transport.pause_reading()
        self.connecting = asyncio.ensure_future(self._connect(transport))

    async def _connect(self, client: asyncio.Transport) -> None:
        try:
            async with asyncio.timeout(_CONNECT_S_MAX):
                await asyncio.get_running_loop().create_connection(
                    lambda: self.server, self.front.address, self.front.backend_port
                )
        except OSError:  # and TimeoutError
            self.reset()
            return
        if self.is_closed and self.server.transport is not None:
            self.server.transport.abort()
        elif not self.is_closed:
            client.resume_reading()

    def reset(self) -> None:
        """Close both sides as a server that was killed does."""
        if self.is_closed:
            return
        self.is_closed = True
        self.front.links.discard(self)
        for half in (self.client, self.server):
            if half.transport is not None:
                half.transport.abort()

    def request(self, frame: bytes) -> bytes | None:
        version, flags, stream, opcode, _ = HEAD.unpack_from(frame)
        if version > frames.VERSION_MAX:
            self.client.write(frames.version_refused(stream))
            return None
        assert not flags & frames.COMPRESSED
        if opcode in (Opcode.QUERY, Opcode.PREPARE):
            text = frames.query_text(frame)
            frame = frames.plain_query(frame)
            if opcode == Opcode.PREPARE:
                self.preparing[stream] = text
                return frame
        elif opcode == Opcode.EXECUTE:
            statement_id = frames.executed_id(frame)
            text = self.front.prepared.get(statement_id, "")
            if (index := self.front.key_indexes.get(statement_id)) is not None:
                self.front.look_at_key(self.shard, text, frames.executed_value(frame, index))
            self.front.levels.setdefault(text, set()).add(frames.executed_levels(frame))
        elif opcode == Opcode.BATCH:
            statement_id = frames.first_of_batch(frame) or b""
            text = self.front.prepared.get(statement_id, "")
            if (index := self.front.key_indexes.get(statement_id)) is not None:
                self.front.look_at_key(self.shard, text, frames.batched_value(frame, index))
            self.front.levels.setdefault(text, set()).add(frames.batched_levels(frame))
        else:
            return frame
        self.front.counts[Counted(self.shard, Opcode(opcode), text)] += 1
        does = self.front.broken(text)
        return frame if does is None else self._break(does, frame, stream)

    def _break(self, rule: Rule, frame: bytes, stream: int) -> bytes | None:
        match rule.does:
            case Break.REFUSE:
                self.client.write(frames.not_begun(stream))
                return None
            case Break.CUT:
                self.reset()
                return None
            case Break.DELAY:
                asyncio.get_running_loop().call_later(rule.delay_s, self.server.write, frame)
                return None
            case Break.TWICE:
                self.own_stream += 1
                if self.own_stream > _OWN_STREAM_LAST:
                    self.own_stream = _OWN_STREAM_FIRST
                self.broken[self.own_stream] = Break.DROP_ANSWER
                return frame + frames.with_stream(frame, self.own_stream)
            case Break.LOSE | Break.DROP_ANSWER | Break.CUT_ANSWER:
                self.broken[stream] = rule.does
                return frame

    def answer(self, frame: bytes) -> bytes | None:
        _, _, stream, opcode, _ = HEAD.unpack_from(frame)
        if opcode == Opcode.SUPPORTED:
            return frames.sharded(frame, self.front.told(self.shard))
        text = self.preparing.pop(stream, None)
        if text is not None and opcode == Opcode.RESULT:
            statement_id = frames.prepared_id(frame)
            if statement_id is not None:
                self.front.prepared[statement_id] = text
                self.front.key_indexes[statement_id] = frames.key_index(frame)
        match self.broken.pop(stream, None):
            case None:
                return frame
            case Break.LOSE:
                return frames.write_timeout(stream)
            case Break.CUT_ANSWER:
                self.client.write(frame[: len(frame) // 2])
                # After what was written has left.
                asyncio.get_running_loop().call_soon(self.reset)
                return None
            case _:
                return None


@dataclass(eq=False)
class Front:
    """The front of one node."""

    address: str
    backend_port: int
    shard_count: int = 2
    counts: "Counter[Counted]" = field(default_factory=Counter)
    # The consistency of prepared requests, and the serial one, by the statement's text.
    levels: dict[str, set[tuple[int, int | None]]] = field(default_factory=dict)
    rules: list[Rule] = field(default_factory=list)
    prepared: dict[bytes, str] = field(default_factory=dict)
    key_indexes: dict[bytes, int | None] = field(default_factory=dict)
    # Requests whose key the shard owns, and those of other owners, by the statement's text.
    owned: "Counter[str]" = field(default_factory=Counter)
    strayed: "Counter[str]" = field(default_factory=Counter)
    owner_of: Callable[[int], str] | None = None  # of a token, by address
    links: set[_Link] = field(default_factory=set)
    accepted_count: int = 0

    def told(self, shard: int) -> dict[str, str]:
        """Return what a connection to this shard is told."""
        return {
            "SCYLLA_SHARD": str(shard),
            "SCYLLA_NR_SHARDS": str(self.shard_count),
            "SCYLLA_PARTITIONER": "org.apache.cassandra.dht.Murmur3Partitioner",
            "SCYLLA_SHARDING_ALGORITHM": "biased-token-round-robin",
            "SCYLLA_SHARDING_IGNORE_MSB": str(IGNORE_MSB),
            "SCYLLA_SHARD_AWARE_PORT": str(SHARD_AWARE_PORT),
        }

    def shard_of_link(self, source_port: int | None) -> int:
        """Return the shard of a new connection; None: any will do."""
        if source_port is not None:
            return source_port % self.shard_count
        self.accepted_count += 1
        return self.accepted_count % self.shard_count

    def look_at_key(self, shard: int, text: str, key: bytes | None) -> None:
        """Count whether a key belongs to this node, and to the shard that was asked about it."""
        if self.owner_of is None or key is None or len(key) != KEY_BYTES:
            return
        token = token_of(key)
        place = shard_of(token, shard_count=self.shard_count, ignore_msb=IGNORE_MSB)
        is_mine = place == shard and self.owner_of(token) == self.address
        (self.owned if is_mine else self.strayed)[text] += 1

    def broken(self, text: str) -> Rule | None:
        """Return the rule that takes this request."""
        return next((rule for rule in list(self.rules) if rule.takes(text)), None)

    async def listen(self) -> list[asyncio.Server]:
        """Accept connections at both ports."""
        loop = asyncio.get_running_loop()

        def link(is_shard_aware: bool) -> Callable[[], asyncio.Protocol]:
            return lambda: _Link(self, is_shard_aware=is_shard_aware).client

        return [
            await loop.create_server(link(False), self.address, PORT),
            await loop.create_server(link(True), self.address, SHARD_AWARE_PORT),
        ]


class Fronts:
    """The fronts of a cluster, on a thread and loop of their own."""

    def __init__(self, fronts: list[Front]) -> None:
        self.fronts = fronts
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def start(self) -> None:
        """Accept connections at every front."""
        self._thread.start()
        self._servers = [
            server
            for front in self.fronts
            for server in asyncio.run_coroutine_threadsafe(front.listen(), self._loop).result(10)
        ]

    def stop(self) -> None:
        """Close every connection, and accept none any more."""

        async def close() -> None:
            for server in self._servers:
                server.close()
            for front in self.fronts:
                for link in list(front.links):
                    link.reset()
            await asyncio.sleep(0)

        asyncio.run_coroutine_threadsafe(close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def reset_links(self, *, shard: int | None = None) -> None:
        """Cut the connections of a shard, or all."""

        async def cut() -> None:
            for front in self.fronts:
                for link in list(front.links):
                    if shard in (None, link.shard):
                        link.reset()

        asyncio.run_coroutine_threadsafe(cut(), self._loop).result(10)

    @contextmanager
    def breaking(self, rule: Rule) -> Iterator[Rule]:
        """Break requests by this rule meanwhile, at every node."""
        for front in self.fronts:
            front.rules.append(rule)
        try:
            yield rule
        finally:
            for front in self.fronts:
                front.rules.remove(rule)

    def watch_owners(self, tokens: Mapping[str, Sequence[int]]) -> None:
        """Count from now on which requests came to their owners; `tokens` by address."""
        ring = Ring.of(tokens)
        for front in self.fronts:
            front.owned.clear()
            front.strayed.clear()
            front.owner_of = lambda token: ring.owners[ring.position_of(Token(token))]

    def strays(self) -> "tuple[int, Counter[str]]":
        """Return how many requests came to their owners, and which statements did not."""
        strayed: Counter[str] = Counter()
        for front in self.fronts:
            strayed.update(front.strayed)
        return sum(front.owned.total() for front in self.fronts), strayed

    def counted(self, *, words: str) -> "Counter[tuple[str, int]]":
        """Return how many requests whose statement has these words came to each (node, shard)."""
        found: Counter[tuple[str, int]] = Counter()
        for front in self.fronts:
            for (shard, _opcode, text), count in list(front.counts.items()):
                if words.lower() in text.lower():
                    found[front.address, shard] += count
        return found
