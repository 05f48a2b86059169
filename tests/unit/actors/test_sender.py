"""A sender asks until each chunk has a definite answer."""

import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from itertools import pairwise

import pytest

from actors.sender import IngesterDoor, IngesterGone, PlatformUnanswered, Sender, Sent
from pipeline.ingest.chunk import (
    Accepted,
    KeyTaken,
    Leaving,
    Overloaded,
    Refused,
    SubmitChunk,
    SubmitReply,
    Unanswered,
    decode_chunk,
    encode,
)
from pipeline.limits import (
    SEND_CHUNKS_IN_FLIGHT_MAX,
    SEND_PATIENCE_MS,
    SEND_REPEAT_MS_MAX,
    SENDER_LOOK_INTERVAL_MS,
)
from tests.support.submissions import make_chunk
from tests.support.virtual_time import in_virtual_time, loop_now, pass_time

TAKEN = Accepted(2, b"i" * 16, repeated_count=0)
DEFINITE = [TAKEN, Refused([(0, "content", "is empty")]), KeyTaken([], 7)]


class Door:
    """An ingester that says what it is told to say, then accepts."""

    def __init__(
        self, *answers: SubmitReply | Exception, otherwise: SubmitReply | Exception = TAKEN
    ) -> None:
        self.answers = list(answers)
        self.otherwise = otherwise
        self.asked: list[tuple[float, SubmitChunk]] = []
        self.takes_ms: Callable[[SubmitChunk], int] = lambda _: 0
        self.under_way = self.under_way_max = 0

    async def submit(self, chunk: bytes) -> bytes:
        asked = decode_chunk(chunk)
        self.asked.append((loop_now().time(), asked))
        self.under_way += 1
        self.under_way_max = max(self.under_way, self.under_way_max)
        if takes_ms := self.takes_ms(asked):
            await pass_time(takes_ms)
        self.under_way -= 1
        answer = self.answers.pop(0) if self.answers else self.otherwise
        if isinstance(answer, Exception):
            raise answer
        return encode(answer)


class Pool:
    """What a sender finds when it looks for ingesters."""

    def __init__(self, *looks: Sequence[IngesterDoor]) -> None:
        self.looks = list(looks)
        self.count = 0

    async def find(self) -> Sequence[IngesterDoor]:
        self.count += 1
        return self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]


def sender(*looks: Sequence[IngesterDoor]) -> Sender:
    return Sender(Pool(*looks).find, chance=random.Random(1), advice="ask the operator")


async def chunks(count: int) -> AsyncIterator[SubmitChunk]:
    for number in range(count):
        yield make_chunk(first_index=1_000 * number)


@pytest.mark.parametrize("answer", DEFINITE, ids=lambda answer: type(answer).__name__)
@in_virtual_time
async def test_a_definite_answer_ends_it(answer: SubmitReply) -> None:
    door = Door(answer)
    assert await sender([door]).send(make_chunk()) == answer
    assert len(door.asked) == 1


@pytest.mark.parametrize(
    "answer",
    [Overloaded(50), Unanswered("the disk is slow"), IngesterGone("it died")],
    ids=lambda answer: type(answer).__name__,
)
@in_virtual_time
async def test_anything_else_is_asked_again_with_the_same_chunk(
    answer: SubmitReply | Exception,
) -> None:
    door = Door(answer, answer, answer)
    chunk = make_chunk()
    assert await sender([door]).send(chunk) == TAKEN
    assert [asked for _, asked in door.asked] == [chunk] * 4


@in_virtual_time
async def test_it_waits_about_as_long_as_an_overloaded_ingester_says() -> None:
    door = Door(*[Overloaded(1_000)] * 20)
    await sender([door]).send(make_chunk())
    instants = [at for at, _ in door.asked]
    pauses = [b - a for a, b in pairwise(instants)]
    assert all(0.5 <= pause <= 1.5 for pause in pauses)
    assert max(pauses) - min(pauses) > 0.2, "else all senders would come back together"


@in_virtual_time
async def test_without_an_answer_it_asks_ever_more_rarely() -> None:
    door = Door(*[Unanswered("no")] * 12)
    await sender([door]).send(make_chunk())
    instants = [at for at, _ in door.asked]
    pauses = [b - a for a, b in pairwise(instants)]
    assert pauses[0] <= 0.15
    assert all(0.5 <= pause / (SEND_REPEAT_MS_MAX / 1_000) <= 1.5 for pause in pauses[5:])


@in_virtual_time
async def test_its_patience_ends() -> None:
    door = Door(otherwise=Unanswered("the disk is slow"))
    with pytest.raises(PlatformUnanswered, match=r"the disk is slow.*; ask the operator$"):
        await sender([door]).send(make_chunk())
    assert SEND_PATIENCE_MS <= loop_now().time() * 1_000 <= SEND_PATIENCE_MS + 4_000


@in_virtual_time
async def test_nobody_to_ask_is_no_answer() -> None:
    with pytest.raises(PlatformUnanswered, match="no ingester runs"):
        await sender([]).send(make_chunk())


@in_virtual_time
async def test_overload_is_a_sign_of_life() -> None:
    seconds = SEND_PATIENCE_MS // 1_000
    door = Door(*[Overloaded(1_000)] * (3 * seconds))
    assert await sender([door]).send(make_chunk()) == TAKEN
    assert loop_now().time() > 2 * seconds


@in_virtual_time
async def test_after_overload_its_patience_begins_anew() -> None:
    seconds = SEND_PATIENCE_MS // 1_000
    door = Door(*[Overloaded(1_000)] * (2 * seconds), otherwise=Unanswered("no"))
    with pytest.raises(PlatformUnanswered):
        await sender([door]).send(make_chunk())
    assert loop_now().time() > 1.5 * seconds + seconds


@in_virtual_time
async def test_it_looks_again_when_an_ingester_is_gone() -> None:
    dead, living = Door(otherwise=IngesterGone("it died")), Door()
    pool = Pool([dead], [living])
    made = Sender(pool.find, chance=random.Random(1), advice="")
    assert await made.send(make_chunk()) == TAKEN
    assert (len(dead.asked), len(living.asked), pool.count) == (1, 1, 2)


@in_virtual_time
async def test_one_that_leaves_is_not_asked_again_and_its_chunk_goes_to_another() -> None:
    leaving, staying = Door(otherwise=Leaving()), Door()
    made = sender([leaving, staying])
    async for sent in made.send_all(chunks(9)):
        assert sent.answer == TAKEN
    assert len(leaving.asked) <= SEND_CHUNKS_IN_FLIGHT_MAX
    asked = [chunk.first_index for _, chunk in staying.asked]
    assert sorted(asked) == list(range(0, 9_000, 1_000)), "each once"


@in_virtual_time
async def test_when_all_leave_it_waits_for_others_and_not_for_ever() -> None:
    leaving, new = Door(otherwise=Leaving()), Door()
    assert await sender([leaving], [leaving], [new]).send(make_chunk()) == TAKEN
    with pytest.raises(PlatformUnanswered, match="its ingesters end"):
        await sender([leaving]).send(make_chunk())


@in_virtual_time
async def test_a_new_ingester_is_asked_soon_though_nobody_is_gone() -> None:
    old, new = Door(), Door()
    pool = Pool([old], [old, new])
    made = Sender(pool.find, chance=random.Random(1), advice="")
    for _ in range(3):
        await made.send(make_chunk())
    assert pool.count == 1
    await pass_time(SENDER_LOOK_INTERVAL_MS)
    for _ in range(4):
        await made.send(make_chunk())
    assert pool.count == 2
    assert (len(old.asked), len(new.asked)) == (5, 2)


@in_virtual_time
async def test_ingesters_take_turns() -> None:
    doors = [Door(), Door(), Door()]
    made = sender(doors)
    async for _ in made.send_all(chunks(9)):
        pass
    assert [len(door.asked) for door in doors] == [3, 3, 3]


@in_virtual_time
async def test_every_chunk_is_answered_in_the_order_of_answers() -> None:
    door = Door()
    door.takes_ms = lambda chunk: 100 - chunk.first_index // 100
    sent = [sent async for sent in sender([door]).send_all(chunks(SEND_CHUNKS_IN_FLIGHT_MAX - 1))]
    firsts = [one.chunk.first_index for one in sent]
    assert firsts == sorted(firsts, reverse=True)
    assert {one.answer for one in sent if isinstance(one.answer, Accepted)} == {TAKEN}


@in_virtual_time
async def test_a_bounded_number_of_chunks_is_under_way() -> None:
    door = Door()
    door.takes_ms = lambda _: 10
    sent = [sent async for sent in sender([door]).send_all(chunks(50))]
    assert sorted(one.chunk.first_index for one in sent) == list(range(0, 50_000, 1_000))
    assert door.under_way_max == SEND_CHUNKS_IN_FLIGHT_MAX


@in_virtual_time
async def test_whoever_stops_early_leaves_nothing_running() -> None:
    door = Door()
    door.takes_ms = lambda chunk: 10 if chunk.first_index == 0 else 10_000_000
    sending = sender([door]).send_all(chunks(3))
    assert isinstance(sending, AsyncGenerator)
    first: Sent = await anext(sending)
    assert first.chunk.first_index == 0
    await sending.aclose()
    await pass_time(1)
    assert loop_now().time() < 1


@in_virtual_time
async def test_a_chunk_without_an_answer_ends_the_stream() -> None:
    door = Door(otherwise=Unanswered("no"))
    with pytest.raises(PlatformUnanswered):
        async for _ in sender([door]).send_all(chunks(2)):
            pass


@in_virtual_time
async def test_chunks_that_must_keep_their_order_are_sent_one_at_a_time() -> None:
    door = Door()
    door.takes_ms = lambda _: 10
    made = Sender(Pool([door]).find, chance=random.Random(1), advice="", in_flight_max=1)
    sent = [one.chunk.first_index async for one in made.send_all(chunks(5))]
    assert sent == sorted(sent)
    assert door.under_way_max == 1
