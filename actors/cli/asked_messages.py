"""The messages that a command is for: by their ids, from a file, or by their group and state."""

import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from actors.cli.message_ids import find_id, parse_digits, unknown_id
from actors.cli.messages import read_page
from actors.cli.not_found import NothingFound
from actors.cli.open_queries import OpenQueries
from pipeline.errors import InputInvalid
from pipeline.ingest.ids import ordering_pk
from pipeline.instant import Instant
from pipeline.lane_id import LaneId, band_of
from pipeline.lifecycle import MessageState, Step, attempt_awaited, state_of
from pipeline.limits import COMMANDS_A_WRITE_MAX
from pipeline.message import Body, MessageId, PartitionKey, Submission, decode_body, group_key
from pipeline.ports import MessageSummary

_DIGITS: Final = 32
IDS_BYTES_MAX: Final = 128 * 1024 * 1024  # of a file: some millions of ids


class AskedMessage(NamedTuple):
    """One message, as it stands."""

    id: MessageId
    pk: PartitionKey
    lane: LaneId
    born: Instant
    group: str  # a group key
    body: Body
    step: Step | None


class Unknown(NamedTuple):
    """What was asked for and is no message."""

    digits: str
    reason: str


_STANDARD_INPUT: Final = Path("-")


class AskedBatch(NamedTuple):
    """Messages, and what is none, in the order that they were asked for."""

    messages: list[AskedMessage]
    unknown: list[Unknown]


def parse_ids(arguments: Sequence[str], file: Path | None) -> list[str]:
    """Return the digits of ids from the command line, from `-` and from a file.

    Each once.  Raises `InputInvalid`, or `typer.BadParameter` for what was typed.
    """
    digits: dict[str, None] = {}
    if file == _STANDARD_INPUT:
        arguments, file = [*arguments, "-"], None
    for argument in arguments:
        if argument == "-":
            digits.update(dict.fromkeys(_lines(sys.stdin.buffer, "standard input")))
        else:
            digits[parse_digits(argument)] = None
    if file is not None:
        try:
            with file.open("rb") as stream:
                digits.update(dict.fromkeys(_lines(stream, str(file))))
        except OSError as error:
            raise InputInvalid(f"{file}: cannot be read: {error.strerror}") from None
    return list(digits)


def _lines(stream: BinaryIO, name: str) -> list[str]:
    # Some files have no end.
    content = stream.read(IDS_BYTES_MAX + 1)
    if len(content) > IDS_BYTES_MAX:
        raise InputInvalid(
            f"{name}: has more than {IDS_BYTES_MAX:,} bytes; ask for a group, or for parts of it"
        )
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise InputInvalid(f"{name}: cannot be read: is not UTF-8") from None
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            found.append(parse_digits(line))
        except Exception as error:
            raise InputInvalid(f"{name}: line {number}: {error}; nothing was asked") from None
    return found


async def by_ids(queries: OpenQueries, digits: Sequence[str]) -> AsyncIterator[AskedBatch]:
    """Yield the messages of these ids, or of what they begin with, some hundreds at a time."""
    for start in range(0, len(digits), COMMANDS_A_WRITE_MAX):
        batch = AskedBatch([], [])
        for one in digits[start : start + COMMANDS_A_WRITE_MAX]:
            try:
                batch.messages.append(await _by_id(queries, one))
            except (NothingFound, InputInvalid) as error:
                batch.unknown.append(Unknown(one, str(error)))
        yield batch


async def _by_id(queries: OpenQueries, digits: str) -> AskedMessage:
    trace = await queries.store.trace(await find_id(queries.store, digits))
    if trace is None:
        raise unknown_id(digits)
    if trace.lane is None:
        raise NothingFound(f"{trace.id.hex()} is in no lane: it was never accepted")
    asked = decode_body(trace.body)
    return AskedMessage(
        id=trace.id,
        pk=pk_of(trace.id, asked),
        lane=trace.lane,
        born=trace.born,
        group=group_key(asked.tenant, asked.group),
        body=trace.body,
        step=trace.events[-1].step if trace.events else None,
    )


async def by_state(
    queries: OpenQueries, *, tenant: str, group: str, state: MessageState
) -> AsyncIterator[AskedBatch]:
    """Yield the messages of a group that are in a state now, a page at a time.

    A command takes them out of the state while pages are read; none is skipped by that, as a page
    begins behind the last message of the one before.
    """
    after: bytes | None = None
    while True:
        page, after = await read_page(
            queries.store,
            state=state,
            group=group_key(tenant, group),
            limit=COMMANDS_A_WRITE_MAX,
            after=after,
        )
        yield AskedBatch([_of_summary(queries, one) for one in page], [])
        if after is None:
            return


def _of_summary(queries: OpenQueries, one: MessageSummary) -> AskedMessage:
    generation = queries.generation
    asked = decode_body(one.body)
    pk = pk_of(one.id, asked)
    core = generation.core_of(pk)
    band = band_of(tenant=asked.tenant, priority=asked.priority)
    return AskedMessage(
        id=one.id,
        pk=pk,
        lane=LaneId(generation.number, core.node, core.shard, asked.channel, band),
        born=one.born,
        group=group_key(asked.tenant, asked.group),
        body=one.body,
        step=one.step,
    )


def pk_of(id_: MessageId, asked: Submission) -> PartitionKey:
    """Return the partition key of a message: of an ordered one, that of its key."""
    if not asked.ordering_key:
        return PartitionKey(id_)
    return ordering_pk(tenant=asked.tenant, ordering_key=asked.ordering_key)


async def due_of(queries: OpenQueries, message: AskedMessage) -> Instant | None:
    """Return when a message is due as things stand, None: at once, or soon."""
    awaited = attempt_awaited(message.step)
    timers = await queries.store.timers_of(message.lane, message.id)
    due = [timer[0] for timer in timers if timer[4] == awaited]
    if due:
        return min(due)
    if message.step is not None:
        return None
    due_at = decode_body(message.body).due_at
    return None if due_at is None else Instant(due_at)


def state_name(message: AskedMessage) -> str:
    """Return the state of a message, for people."""
    return state_of(message.step).value
