"""Brings chunks to the ingesters: several under way, each until its answer is definite.

An ingester that dies, is overloaded or does not know is asked again with the same chunk: its key
makes a repeat harmless.  So a sender may be killed at any moment and started again.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, assert_never

import structlog

from pipeline.errors import ShardpostError
from pipeline.ingest.chunk import (
    Accepted,
    KeyTaken,
    Leaving,
    Overloaded,
    Refused,
    SubmitChunk,
    SubmitReply,
    Unanswered,
    decode_reply,
    encode,
)
from pipeline.limits import (
    SEND_CHUNKS_IN_FLIGHT_MAX,
    SEND_PATIENCE_MS,
    SEND_REPEAT_MS_MAX,
    SEND_REPEAT_MS_MIN,
    SENDER_LOOK_INTERVAL_MS,
)

log = structlog.get_logger(__name__)

_MS_PER_S: Final = 1_000


class IngesterGone(ShardpostError):
    """The caller may repeat the call with the same key: the ingester died, or never was."""


class PlatformUnanswered(ShardpostError):
    """The operator may run the same command again; the line says what that sends twice."""


class IngesterDoor(Protocol):
    """One ingester, as a sender sees it."""

    async def submit(self, chunk: bytes) -> bytes:
        """Return the encoded reply to an encoded chunk; raises `IngesterGone`."""
        ...


@dataclass(frozen=True, slots=True)
class Sent:
    """A chunk and its definite answer."""

    chunk: SubmitChunk
    answer: Accepted | Refused | KeyTaken


class Sender:
    """For one stream of chunks."""

    def __init__(
        self,
        find_ingesters: Callable[[], Awaitable[Sequence[IngesterDoor]]],
        *,
        chance: random.Random,
        advice: str,
        in_flight_max: int = SEND_CHUNKS_IN_FLIGHT_MAX,
    ) -> None:
        """`advice` tells a person what a repeat does; only who made the keys knows that.

        `in_flight_max`: 1 where chunks must be accepted in their order.
        """
        self._advice = advice
        self._in_flight_max = in_flight_max
        self._find_ingesters = find_ingesters
        self._chance = chance
        self._doors: Sequence[IngesterDoor] = ()
        self._turn = 0
        self._look_again_at = 0.0

    async def send_all(self, chunks: AsyncIterator[SubmitChunk]) -> AsyncIterator[Sent]:
        """Yield each chunk with its answer, in the order of answers.

        Raises `PlatformUnanswered` if a chunk has no definite answer for a long time.  Whoever
        stops early leaves chunks under way whose answers nobody hears; they may be accepted.
        """
        under_way: set[asyncio.Task[Sent]] = set()
        try:
            async for chunk in chunks:
                under_way.add(asyncio.get_running_loop().create_task(self._send(chunk)))
                if len(under_way) >= self._in_flight_max:
                    done, under_way = await asyncio.wait(
                        under_way, return_when=asyncio.FIRST_COMPLETED
                    )
                    for task in done:
                        yield task.result()
            while under_way:
                done, under_way = await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    yield task.result()
        finally:
            for task in under_way:
                task.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)

    async def send(self, chunk: SubmitChunk) -> Accepted | Refused | KeyTaken:
        """Return the definite answer to one chunk; raises `PlatformUnanswered`."""
        return (await self._send(chunk)).answer

    async def _send(self, chunk: SubmitChunk) -> Sent:
        data = encode(chunk)
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + SEND_PATIENCE_MS / _MS_PER_S
        pause_ms = SEND_REPEAT_MS_MIN
        while True:
            reply = await self._ask(data)
            match reply:
                case Accepted() | Refused() | KeyTaken():
                    return Sent(chunk, reply)
                case Overloaded(retry_after_ms):
                    # It lives, and will take it: no reason to give up.
                    give_up_at = loop.time() + SEND_PATIENCE_MS / _MS_PER_S
                    wait_ms: float = retry_after_ms
                case Leaving() | Unanswered():
                    reason = "its ingesters end" if isinstance(reply, Leaving) else reply.reason
                    if loop.time() > give_up_at:
                        raise PlatformUnanswered(
                            f"the platform does not answer ({reason}); look at its log;"
                            f" {self._advice}"
                        )
                    wait_ms = pause_ms
                    pause_ms = min(2 * pause_ms, SEND_REPEAT_MS_MAX)
                case other:
                    assert_never(other)
            await asyncio.sleep(self._chance.uniform(0.5, 1.5) * wait_ms / _MS_PER_S)

    async def _ask(self, data: bytes) -> SubmitReply:
        loop = asyncio.get_running_loop()
        if not self._doors or loop.time() >= self._look_again_at:
            # The pool grows and shrinks; whoever is new should have something to do.
            self._look_again_at = loop.time() + SENDER_LOOK_INTERVAL_MS / _MS_PER_S
            self._doors = await self._find_ingesters()
        if not self._doors:
            return Unanswered("no ingester runs")
        self._turn += 1
        door = self._doors[self._turn % len(self._doors)]
        try:
            reply = decode_reply(await door.submit(data))
        except IngesterGone as error:
            log.info("ingester_gone", error=str(error))
            self._doors = ()
            return Unanswered(str(error))
        if isinstance(reply, Leaving):
            # Ray lists it until it is gone.
            self._doors = [other for other in self._doors if other is not door]
        return reply
