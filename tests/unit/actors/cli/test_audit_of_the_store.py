"""The audit finds everything that a test breaks in the store."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from cluster.topology.generation import Core
from pipeline.instant import Instant, later
from pipeline.lane.entry import Checkpoint, EntryBuilder, encode_entry
from pipeline.lifecycle import Event, step_of
from pipeline.message import PartitionKey
from tests.support.broken_folder import COUNT, Broken, kinds
from tests.support.cli_answer import Answer, Shardpost
from tests.support.fake_clock import NOW
from tests.support.filled_folder import FilledFolder

CLAIM, TAKE = (
    int(step_of(attempt=1, try_no=1, event=event)) for event in (Event.CLAIM, Event.TAKE)
)


def test_a_second_take_is_found(audit: Callable[..., Answer], broken: Broken) -> None:
    again = int(step_of(attempt=2, try_no=1, event=Event.TAKE))
    broken.change("INSERT INTO timeline VALUES (?, ?, 1, 'file')", broken.victim, again)
    answer = audit()
    assert kinds(answer) == {"taken_twice": 1}
    assert answer.json["findings"] == [
        {
            "kind": "taken_twice",
            "where": f"{broken.core.node}/{broken.core.shard}",
            "id": broken.victim.hex(),
            "detail": "its timeline has 2 TAKE",
        }
    ]


def test_a_body_that_does_not_decode_is_found_and_whoever_needs_it_says_so(
    audit: Callable[..., Answer], broken: Broken, shardpost: Shardpost
) -> None:
    broken.spoil_body()
    answer = audit()
    assert kinds(answer) == {"body_unreadable": 1}
    assert answer.json["findings"][0]["id"] == broken.victim.hex()
    for asked in (("trace", broken.victim.hex()), ("messages", "--group", "spring")):
        told = shardpost(*asked, "--data", broken.path)
        assert told.code == 5
        assert "something that is stored cannot be decoded" in told.refusal


def test_an_outcome_without_its_claim_is_found(
    audit: Callable[..., Answer], broken: Broken
) -> None:
    broken.change("DELETE FROM journal")  # else its entry would tell of the claim
    broken.change("DELETE FROM timeline WHERE id = ? AND step = ?", broken.victim, CLAIM)
    assert kinds(audit())["illegal_order"] == 1


def test_an_event_after_the_end_is_found(audit: Callable[..., Answer], broken: Broken) -> None:
    expired = int(step_of(attempt=1, try_no=1, event=Event.EXPIRE))
    broken.change("INSERT INTO timeline VALUES (?, ?, 1, '')", broken.victim, expired)
    # The fold is another one now, so that the books differ as well.
    assert kinds(audit()) == {"illegal_order": 1, "books_differ": 2}


def test_an_event_that_no_release_knows_is_found(
    audit: Callable[..., Answer], broken: Broken
) -> None:
    broken.change("INSERT INTO timeline VALUES (?, ?, 1, '')", broken.victim, TAKE + 200)
    answer = audit()
    assert kinds(answer)["illegal_order"] == 1
    assert "no release knows" in answer.json["findings"][0]["detail"]


def test_a_lost_outcome_is_found(audit: Callable[..., Answer], broken: Broken) -> None:
    broken.change("DELETE FROM journal WHERE seq < (SELECT max(seq) FROM journal)")
    broken.change("DELETE FROM timeline WHERE id = ? AND step = ?", broken.victim, TAKE)
    assert kinds(audit()) == {"claim_forgotten": 1, "missed_row": 1, "books_differ": 2}


def test_a_row_below_the_offset_that_was_never_claimed_is_found(
    audit: Callable[..., Answer], broken: Broken
) -> None:
    broken.change("DELETE FROM journal WHERE seq < (SELECT max(seq) FROM journal)")
    broken.change("DELETE FROM timeline WHERE id = ?", broken.victim)
    answer = audit("--no-outbox")
    assert kinds(answer) == {"books_differ": 2, "missed_row": 1}
    [missed] = [one for one in answer.json["findings"] if one["kind"] == "missed_row"]
    assert (missed["id"], missed["where"]) == (broken.victim.hex(), broken.lane)


CLASS_0 = '[connectors.file]\nkind = "file"\n'
CLASS_K = (
    '[connectors.file]\nkind = "webhook"\nurl = "https://example.org/"\nprovider_class = "K"\n'
)
CLASS_Q = (
    '[connectors.file]\nkind = "webhook"\nurl = "https://example.org/"\nprovider_class = "Q"\n'
    'query_url = "https://example.org/{id}"\n'
)


@pytest.mark.parametrize(
    ("settings", "is_found"),
    [
        pytest.param(CLASS_0, True, id="its provider cannot be asked"),
        pytest.param(CLASS_K, False, id="K: it may be in doubt"),
        pytest.param(CLASS_Q, False, id="Q: it may be in doubt"),
    ],
)
def test_a_claim_below_the_offset_is_found_where_it_cannot_be_in_doubt(
    shardpost: Shardpost, tmp_path: Path, settings: str, is_found: bool
) -> None:
    (tmp_path / "shardpost.toml").write_text(settings)

    async def run_ahead() -> None:
        folder = FilledFolder(tmp_path / "data")
        try:
            await folder.append(await folder.accept(1), Event.CLAIM)
            await folder.project()
            [lane] = folder.lanes
            await folder.write_books()
            folder.clock.advance(10)
            await folder.checkpoint(lane, offset=folder.clock.now(), retired_through=-1)
        finally:
            await folder.close()

    asyncio.run(run_ahead())
    answer = shardpost("audit", "--data", tmp_path / "data", "--json")
    assert kinds(answer) == ({"missed_row": 1} if is_found else {})
    if is_found:
        assert "claimed" in answer.json["findings"][0]["detail"]


@pytest.mark.parametrize("book", ["group:default/spring", "day:default/2023-11-14"])
def test_a_book_that_is_off_by_one_is_found(
    audit: Callable[..., Answer], broken: Broken, book: str
) -> None:
    broken.change(
        "UPDATE books SET counts = CAST(json_set(counts, '$.sent',"
        " json_extract(counts, '$.sent') + 1) AS BLOB) WHERE book = ?",
        book,
    )
    answer = audit()
    assert kinds(answer) == {"books_differ": 1}
    assert answer.json["findings"][0]["where"] == book
    assert "sent" in answer.json["findings"][0]["detail"]


def test_a_book_that_is_gone_is_found(audit: Callable[..., Answer], broken: Broken) -> None:
    broken.change("DELETE FROM books WHERE book = 'group:default/spring'")
    assert kinds(audit()) == {"books_differ": 1}


@pytest.mark.parametrize("counts", [b"{", b'{"lost":1}'])
def test_a_book_that_does_not_decode_is_found(
    audit: Callable[..., Answer], broken: Broken, counts: bytes
) -> None:
    broken.change("UPDATE books SET counts = ? WHERE book = 'group:default/spring'", counts)
    assert kinds(audit())["books_differ"] >= 1


@pytest.mark.parametrize("body", [b"", b"\xc1", b"\x91\x09", b"\x90"])
def test_an_entry_that_does_not_decode_is_found(
    audit: Callable[..., Answer], broken: Broken, body: bytes
) -> None:
    broken.change("UPDATE journal SET body = ? WHERE seq = 1", body)
    answer = audit()
    assert kinds(answer)["entry_unreadable"] == 1
    assert "entry 1" in answer.json["findings"][0]["detail"]


def test_a_gap_in_a_journal_is_found(audit: Callable[..., Answer], broken: Broken) -> None:
    broken.change("DELETE FROM journal WHERE seq = 1")
    assert kinds(audit()) == {"entry_missing": 1}


def test_a_journal_whose_old_entries_were_swept_has_no_gap(
    audit: Callable[..., Answer], broken: Broken
) -> None:
    broken.change("DELETE FROM journal WHERE seq < 2")
    assert kinds(audit()) == {}


@pytest.mark.parametrize(("offset_ms", "retired_through"), [(-60_000, 9), (60_000, 0)])
def test_a_checkpoint_that_went_back_is_found(
    shardpost: Shardpost, tmp_path: Path, offset_ms: int, retired_through: int
) -> None:
    async def go_back() -> None:
        folder = FilledFolder(tmp_path / "data")
        try:
            await folder.send(await folder.accept(1))
            [lane] = folder.lanes
            await folder.checkpoint(
                lane,
                offset=later(folder.clock.now(), offset_ms),
                retired_through=retired_through,
            )
        finally:
            await folder.close()

    asyncio.run(go_back())
    answer = shardpost("audit", "--data", tmp_path / "data", "--json")
    assert kinds(answer)["offset_went_back"] == 1


def test_an_entry_of_an_event_that_no_release_knows_is_found(
    audit: Callable[..., Answer], broken: Broken
) -> None:
    builder = EntryBuilder()
    builder.add_lines(
        message_ids=[broken.victim],
        partition_keys=[PartitionKey(broken.victim)],
        steps=[TAKE + 200],
        events_before=[0],
        borns=[NOW],
        groups=["default/spring"],
        details={},
    )
    entry = builder.build(at=NOW, connector="file", checkpoint=None)
    broken.change(
        "UPDATE journal SET body = ? WHERE seq = (SELECT max(seq) FROM journal)",
        encode_entry(entry),
    )
    assert kinds(audit())["entry_unreadable"] == 1


def test_a_lane_that_nobody_announced_is_found(
    audit: Callable[..., Answer], broken: Broken
) -> None:
    broken.change("DELETE FROM lanes")
    answer = audit()
    assert kinds(answer) == {"lane_unannounced": 1}
    assert answer.json["findings"][0]["where"] == broken.lane


def test_a_message_that_is_gone_is_found(audit: Callable[..., Answer], broken: Broken) -> None:
    broken.change("DELETE FROM body_ids WHERE id = ?", broken.victim)
    answer = audit("--no-outbox")
    assert kinds(answer)["message_missing"] == 2  # its row, and its timeline
    assert {one["id"] for one in answer.json["findings"]} == {broken.victim.hex()}


def test_a_row_on_a_strange_core_is_found(shardpost: Shardpost, tmp_path: Path) -> None:
    async def misplace() -> None:
        folder = FilledFolder(tmp_path / "data")
        try:
            ids = await folder.accept(8)
            homes = {folder.messages[id_].lane for id_ in ids}
            here, there = sorted(homes)
            store = await folder.store()
            stray = next(id_ for id_ in ids if folder.messages[id_].lane == there)
            message = folder.messages[stray]
            await store.write_messages(
                Core(here.node, here.shard),
                [(stray, stray, message.born, message.group, message.body)],  # type: ignore[list-item]
            )
            await store.write_buffer(
                here,
                [(stray, stray, message.born, 1, 0, message.group)],  # type: ignore[list-item]
            )
        finally:
            await folder.close()

    asyncio.run(misplace())
    answer = shardpost("audit", "--data", tmp_path / "data", "--json")
    assert kinds(answer) == {"misplaced": 1}
    assert "n1/1" in answer.json["findings"][0]["detail"]


def test_a_file_that_is_damaged_is_found_and_the_others_are_judged(
    audit: Callable[..., Answer], broken: Broken, whole: FilledFolder
) -> None:
    path = broken.path / whole.folder.core_path(broken.core).name
    for file in path.parent.glob(f"{path.name}*"):
        file.unlink()  # its log could mend it
    path.write_bytes(b"SQLite format 3\0" + bytes(5_000))
    answer = audit("--no-outbox")
    assert kinds(answer) == {"file_unreadable": 1}
    assert 0 < answer.json["messages"] < COUNT


def test_a_block_that_is_damaged_is_found(audit: Callable[..., Answer], broken: Broken) -> None:
    broken.change("UPDATE bodies SET packed = x'c1'")
    assert kinds(audit()) == {"file_unreadable": 1}


def cursors_at(broken: Broken, *, timers: int, commands: int) -> None:
    """Let the newest checkpoint of the victim's lane have passed these instants."""
    entry = EntryBuilder().build(
        at=NOW,
        connector="",
        checkpoint=Checkpoint(
            offset=Instant(0),
            retired_through=-1,
            timer_cursor=Instant(timers),
            command_cursor=Instant(commands),
        ),
    )
    broken.change("DELETE FROM journal")
    broken.change("INSERT INTO journal VALUES (?, 0, 0, 1, ?)", broken.lane, encode_entry(entry))


@pytest.mark.parametrize("attempt", [1, 2])
def test_a_timer_of_a_message_that_is_over_was_not_missed(
    audit: Callable[..., Answer], broken: Broken, attempt: int
) -> None:
    due = NOW - 1_000_000
    broken.change(
        "INSERT INTO timers VALUES (?, ?, ?, ?, NULL, ?, 'default/g')",
        *(broken.lane, due, broken.victim, attempt, NOW),
    )
    cursors_at(broken, timers=due + 1, commands=0)
    assert "missed_timer" not in kinds(audit())


@pytest.mark.parametrize(("passed_by", "is_found"), [(1, True), (0, False)])
def test_a_timer_that_the_cursor_passed_is_found(
    audit: Callable[..., Answer], broken: Broken, passed_by: int, is_found: bool
) -> None:
    due = NOW - 1_000_000
    broken.change("DELETE FROM timeline WHERE id = ?", broken.victim)
    broken.change(
        "INSERT INTO timers VALUES (?, ?, ?, 1, NULL, ?, 'default/g')",
        *(broken.lane, due, broken.victim, NOW),
    )
    cursors_at(broken, timers=due + passed_by, commands=0)
    assert kinds(audit()).get("missed_timer", 0) == is_found


@pytest.mark.parametrize(
    ("at", "is_answered", "is_found"),
    [
        pytest.param(0, False, True, id="carried out, and no answer"),
        pytest.param(0, True, False, id="answered"),
        pytest.param(1, False, False, id="it waits"),
    ],
)
def test_a_command_without_an_answer_is_found(
    audit: Callable[..., Answer], broken: Broken, at: int, is_answered: bool, is_found: bool
) -> None:
    command = b"c" * 16
    broken.change(
        "INSERT INTO commands VALUES (?, ?, ?, 'cancel', ?, ?, '', 'ada', x'')",
        *(broken.lane, NOW + at, command, broken.victim, broken.victim),
    )
    if is_answered:
        broken.change(
            "INSERT INTO results VALUES (?, ?, ?, 'done', '', x'')", command, broken.lane, NOW
        )
    cursors_at(broken, timers=0, commands=NOW)
    assert kinds(audit()).get("command_unanswered", 0) == is_found
