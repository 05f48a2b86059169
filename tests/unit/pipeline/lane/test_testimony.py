"""What a deposed owner has to say, and what it had better keep to itself."""

import pytest

from pipeline.command import CommandKind, decode_command
from pipeline.lifecycle import Event, step_of
from pipeline.outcome import ProviderClass, ReceiptsBy
from pipeline.route.receipts import ReceiptTerms
from tests.support.gates import gate_of
from tests.support.lane_story import GROUP, LaneStory, id_of, name_of

# a is handed over, and an append is in flight that will be refused.
HANDED_A = "ring:a applied HAND:a ring:b CLAIM:b"


def told(story: LaneStory) -> list[str]:
    commands, _ = story.lane.take_testimony()
    return [
        f"{name_of(command.message_id)}={Event(decode_command(command.payload).event).name}"
        for command in commands
    ]


@pytest.mark.parametrize(
    ("story", "expected"),
    [
        pytest.param(f"{HANDED_A} fenced took FENCED", ["a=TAKE"], id="it came afterwards"),
        pytest.param(f"{HANDED_A} took fenced FENCED", ["a=TAKE"], id="it waited for an append"),
        pytest.param(
            "ring:a applied took SAYS:a=TAKE fenced FENCED", ["a=TAKE"], id="its append was refused"
        ),
        pytest.param(f"{HANDED_A} fenced refused", ["a=REFUSE"], id="its only copy was refused"),
        pytest.param(
            "ring:a applied refused SAYS:a=REFUSE fenced", ["a=REFUSE"], id="in the refused append"
        ),
        pytest.param(f"{HANDED_A} fenced lost", [], id="it does not know either"),
        pytest.param(f"{HANDED_A} fenced unsent", [], id="what did not leave is no end"),
        pytest.param(f"{HANDED_A} fenced deferred", [], id="nor what is refused for now"),
        pytest.param("ring:a CLAIM:a fenced", [], id="what it never had"),
        pytest.param(f"{HANDED_A} took applied", [], id="what it may journal itself"),
        pytest.param(
            "ring:a,b applied HAND:a,b ring:c CLAIM:c fenced part:b=TAKE part:a=REFUSE",
            ["b=TAKE", "a=REFUSE"],
            id="in parts",
        ),
    ],
)
def test_a_deposed_owner_tells_how_its_claims_ended(story: str, expected: list[str]) -> None:
    assert told(LaneStory().tell(story)) == expected


@pytest.mark.parametrize(
    ("provider_class", "has_to_tell"),
    [
        (ProviderClass.KEYED, False),
        (ProviderClass.QUERYABLE, False),
        (ProviderClass.CORRELATED, True),
        (ProviderClass.NONE, True),
    ],
)
@pytest.mark.parametrize("story", [f"{HANDED_A} fenced took", "ring:a applied took fenced"])
def test_where_its_successor_asks_by_itself_it_says_nothing(
    provider_class: ProviderClass, has_to_tell: bool, story: str
) -> None:
    lane = LaneStory(gate=gate_of(provider_class=provider_class)).tell(story)
    assert bool(told(lane)) == has_to_tell
    assert lane.lane.is_testified("file") == has_to_tell


@pytest.mark.parametrize("story", [f"{HANDED_A} fenced took", "ring:a applied took fenced"])
def test_a_testimony_says_of_which_claim_it_speaks(story: str) -> None:
    lane = LaneStory().tell(story)
    ((command,), _) = lane.lane.take_testimony()
    body = decode_command(command.payload)
    assert (command.kind, command.message_id, command.pk) == (
        CommandKind.TESTIMONY,
        id_of("a"),
        id_of("a"),
    )
    assert body.step == step_of(attempt=1, try_no=1, event=Event.TAKE)
    assert (body.born, body.group) == (lane.born("a"), GROUP)
    assert lane.lane.take_testimony() == ([], []), "it is told once"


@pytest.mark.parametrize(
    "story", [f"{HANDED_A} fenced tookas:a=x", "ring:a applied tookas:a=x fenced"]
)
def test_the_name_that_receipts_will_come_by_is_told_as_well(story: str) -> None:
    lane = LaneStory(gate=gate_of(has_receipts=True)).tell(story)
    _, (row,) = lane.lane.take_testimony()
    assert (row.message_id, row.detail, row.group) == (id_of("a"), "file x", GROUP)
    by_id = ReceiptTerms(by=ReceiptsBy.MESSAGE_ID)
    lane = LaneStory(gate=gate_of(has_receipts=True, receipts=by_id)).tell(story)
    assert lane.lane.take_testimony()[1] == [], "its successor notes our id by itself"
