"""The audit finds nothing where nothing is wrong, and everything that a test breaks."""

import asyncio
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from actors.cli.audit.findings import MEANINGS, FindingKind
from actors.cli.audit.outbox_files import read_lines
from cluster.local.platform_lock import PlatformAddress, PlatformLock
from cluster.topology.generation import Core
from pipeline.instant import later
from pipeline.lane.entry import EntryBuilder, encode_entry
from pipeline.lifecycle import Event, step_of
from pipeline.message import MessageId, PartitionKey
from tests.support.cli_answer import Answer, Shardpost
from tests.support.fake_clock import NOW
from tests.support.filled_folder import FilledFolder

COUNT = 12
CLAIM, TAKE = (
    int(step_of(attempt=1, try_no=1, event=event)) for event in (Event.CLAIM, Event.TAKE)
)


class Broken:
    """A folder that a test breaks: `COUNT` messages that were sent, one of them first of all."""

    def __init__(self, path: Path, whole: FilledFolder) -> None:
        self.path = path
        self.ids = sorted(id_ for id_, message in whole.messages.items())
        self._whole = whole

    @property
    def victim(self) -> MessageId:
        return self.ids[0]

    @property
    def core(self) -> Core:
        return self._whole.core_of(self.victim)

    @property
    def lane(self) -> str:
        return str(self._whole.messages[self.victim].lane)

    def change(self, statement: str, *parameters: object) -> None:
        path = self.path / self._whole.folder.core_path(self.core).name
        assert FilledFolder.damage_file(path, statement, *parameters) > 0, "nothing was broken"

    @property
    def lines_file(self) -> Path:
        return self.path / "outbox" / "sms" / f"{self.lane}.jsonl"

    def lines(self) -> list[bytes]:
        return self.lines_file.read_bytes().splitlines(keepends=True)

    def write_lines(self, lines: list[bytes]) -> None:
        self.lines_file.write_bytes(b"".join(lines))

    def line_of_victim(self) -> bytes:
        [line] = [line for line in self.lines() if self.victim.hex().encode() in line]
        return line


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> FilledFolder:
    """Return a folder in which everything is as it should be; nobody may change it."""

    async def fill() -> FilledFolder:
        folder = FilledFolder(tmp_path_factory.mktemp("whole") / "data")
        try:
            ids = await folder.accept(COUNT, group="spring")
            await folder.send(ids[: COUNT // 2])
            await folder.send(ids[COUNT // 2 :])
            return folder
        finally:
            await folder.close()

    return asyncio.run(fill())


@pytest.fixture
def broken(whole: FilledFolder, tmp_path: Path) -> Broken:
    shutil.copytree(whole.path, tmp_path / "data")
    return Broken(tmp_path / "data", whole)


@pytest.fixture
def audit(shardpost: Shardpost, broken: Broken) -> Callable[..., Answer]:
    return lambda *arguments: shardpost("audit", "--data", broken.path, "--json", *arguments)


def kinds(answer: Answer) -> dict[str, int]:
    found = answer.json["findings_by_kind"]
    assert answer.code == (9 if found else 0)
    assert answer.json["findings_count"] == sum(found.values())
    return dict(found)


# --- what is right --------------------------------------------------------------------------------


def test_nothing_is_found_where_nothing_is_wrong(audit: Callable[..., Answer]) -> None:
    answer = audit()
    assert kinds(answer) == {}
    assert {key: value for key, value in answer.json.items() if isinstance(value, int)} == {
        "is_running": False,
        "messages": COUNT,
        "without_event": 0,
        "rows": COUNT,
        "entries": 12,
        "books": 4,
        "lines": COUNT,
        "lines_torn": 0,
        "too_old": 0,
        "books_too_old": 0,
        "lines_too_old": 0,
        "findings_count": 0,
    }


def test_a_person_is_told_that_nothing_was_found(shardpost: Shardpost, broken: Broken) -> None:
    answer = shardpost("audit", "--data", broken.path)
    assert answer.code == 0
    assert "Nothing was found" in answer.out


@pytest.mark.parametrize(
    "leave_off",
    ["accepted", "claimed", "handed over", "taken", "projected", "counted"],
)
def test_a_crash_at_any_step_leaves_nothing_to_find(
    shardpost: Shardpost, tmp_path: Path, leave_off: str
) -> None:
    async def crash() -> None:
        folder = FilledFolder(tmp_path / "data")
        try:
            await folder.send(await folder.accept(2, group="spring"))
            ids = await folder.accept(4, group="spring")
            steps: list[tuple[str, Callable[[], object]]] = [
                ("accepted", lambda: folder.append(ids, Event.CLAIM)),
                ("claimed", lambda: folder.write_lines(ids)),
                ("handed over", lambda: folder.append(ids, Event.TAKE)),
                ("taken", folder.project),
                ("projected", folder.write_books),
            ]
            for name, step in steps:
                if name == leave_off:
                    return
                done = step()
                if asyncio.iscoroutine(done):
                    await done
        finally:
            await folder.close()

    asyncio.run(crash())
    assert kinds(shardpost("audit", "--data", tmp_path / "data", "--json")) == {}


def test_an_uncertain_message_may_have_a_line_or_none(shardpost: Shardpost, tmp_path: Path) -> None:
    async def lose() -> None:
        folder = FilledFolder(tmp_path / "data")
        try:
            ids = await folder.accept(4)
            await folder.append(ids, Event.CLAIM)
            folder.write_lines(ids[:2])
            await folder.append(ids, Event.LOSE_ANSWER)
            await folder.finish()
        finally:
            await folder.close()

    asyncio.run(lose())
    assert kinds(shardpost("audit", "--data", tmp_path / "data", "--json")) == {}


def test_what_was_stored_and_never_submitted_is_nothing_to_find(
    shardpost: Shardpost, tmp_path: Path
) -> None:
    async def orphan() -> None:
        folder = FilledFolder(tmp_path / "data")
        try:
            await folder.accept(3, is_buffered=False)
        finally:
            await folder.close()

    asyncio.run(orphan())
    answer = shardpost("audit", "--data", tmp_path / "data", "--json")
    assert kinds(answer) == {}
    assert (answer.json["messages"], answer.json["without_event"]) == (3, 3)


# --- what is wrong in the store -------------------------------------------------------------------


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


def test_a_claim_below_the_offset_is_found(shardpost: Shardpost, tmp_path: Path) -> None:
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
    assert kinds(answer) == {"missed_row": 1}
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
                [(stray, stray, message.born, 1, message.group)],  # type: ignore[list-item]
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


# --- what is wrong in the outbox ------------------------------------------------------------------


def test_a_line_that_is_there_twice_is_found(audit: Callable[..., Answer], broken: Broken) -> None:
    broken.write_lines([*broken.lines(), broken.line_of_victim()])
    answer = audit()
    assert kinds(answer) == {"line_twice": 1}
    assert answer.json["findings"][0]["id"] == broken.victim.hex()


def test_a_sent_message_without_a_line_is_found(
    audit: Callable[..., Answer], broken: Broken
) -> None:
    victim = broken.line_of_victim()
    broken.write_lines([line for line in broken.lines() if line != victim])
    answer = audit()
    assert kinds(answer) == {"line_missing": 1}
    assert answer.json["findings"][0]["id"] == broken.victim.hex()


def test_a_line_of_a_message_that_nobody_accepted_is_found(
    audit: Callable[..., Answer], broken: Broken
) -> None:
    stranger = broken.line_of_victim().replace(broken.victim.hex().encode(), b"ab" * 16)
    broken.write_lines([*broken.lines(), stranger])
    answer = audit()
    assert kinds(answer) == {"line_unknown": 1}
    assert answer.json["findings"][0]["id"] == "ab" * 16


@pytest.mark.parametrize("event", [None, Event.EXPIRE, Event.NOT_SENT])
def test_a_line_of_a_message_that_was_not_handed_over_is_found(
    shardpost: Shardpost, tmp_path: Path, event: Event | None
) -> None:
    async def write_too_much() -> None:
        folder = FilledFolder(tmp_path / "data")
        try:
            ids = await folder.accept(1)
            if event is Event.NOT_SENT:
                await folder.append(ids, Event.CLAIM)
            if event is not None:
                await folder.append(ids, event)
                await folder.project()
                await folder.write_books()
            folder.write_lines(ids)
        finally:
            await folder.close()

    asyncio.run(write_too_much())
    assert kinds(shardpost("audit", "--data", tmp_path / "data", "--json")) == {"line_unclaimed": 1}


@pytest.mark.parametrize(
    "end",
    [
        b'{"mess',
        b'{"message_id":"00ff',
        b'{"message_id":"',
        b"{",
        b"\0\0\n",
        b'{"message_id":"0\0\n',
    ],
)
def test_a_line_that_ends_too_early_is_said_and_tolerated(
    audit: Callable[..., Answer], broken: Broken, end: bytes
) -> None:
    broken.write_lines([*broken.lines(), end])
    answer = audit()
    assert kinds(answer) == {}
    assert answer.json["lines_torn"] == 1


def test_a_whole_line_without_its_end_is_no_hand_over(
    audit: Callable[..., Answer], broken: Broken
) -> None:
    broken.write_lines([*broken.lines()[:-1], broken.lines()[-1].rstrip(b"\n")])
    answer = audit()
    assert kinds(answer) == {"line_missing": 1}
    assert answer.json["lines_torn"] == 1


@pytest.mark.parametrize(
    "line",
    [b"hello\n", b'{"message_id":"zz","metadata":{}}\n', b"x" * 3_000_000 + b"\n"],
)
def test_a_line_that_is_none_of_ours_is_found(
    audit: Callable[..., Answer], broken: Broken, line: bytes
) -> None:
    broken.write_lines([line, *broken.lines()])
    answer = audit()
    assert kinds(answer) == {"line_unreadable": 1}
    assert "line 1" in answer.json["findings"][0]["detail"]


def test_a_file_that_is_no_lane_s_is_found(audit: Callable[..., Answer], broken: Broken) -> None:
    (broken.path / "outbox" / "sms" / "notes.txt").write_text("hello")
    (broken.path / "outbox" / "sms" / "1.n9.0.sms.bulk-2.jsonl").write_text("")
    assert kinds(audit()) == {"line_unreadable": 2}


def test_lines_of_a_core_that_holds_nothing_are_found(shardpost: Shardpost, tmp_path: Path) -> None:
    async def nothing() -> None:
        folder = FilledFolder(tmp_path / "data")
        file = folder.path / "outbox" / "sms" / "1.n1.0.sms.bulk-2.jsonl"
        file.parent.mkdir(parents=True)
        file.write_text("{}")

    asyncio.run(nothing())
    answer = shardpost("audit", "--data", tmp_path / "data", "--json")
    assert kinds(answer) == {"line_unknown": 1}


def test_another_outbox_may_be_named_or_none_compared(
    audit: Callable[..., Answer], broken: Broken, tmp_path: Path
) -> None:
    (broken.path / "outbox").rename(tmp_path / "elsewhere")
    assert audit().json["lines"] is None
    assert audit("--outbox", tmp_path / "elsewhere").json["lines"] == COUNT
    broken.path.joinpath("outbox").mkdir()
    assert kinds(audit()) == {"line_missing": COUNT}
    assert audit("--no-outbox").json["lines"] is None
    answer = audit("--outbox", tmp_path / "nope")
    assert answer.code == 3
    assert "there is no such folder" in answer.refusal


# --- time, and a platform that runs ---------------------------------------------------------------


def test_what_is_past_its_time_to_live_is_not_judged(
    audit: Callable[..., Answer], broken: Broken, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken.change("DELETE FROM timeline WHERE id = ? AND step = ?", broken.victim, CLAIM)
    broken.change("DELETE FROM journal WHERE seq < (SELECT max(seq) FROM journal)")
    assert "illegal_order" in kinds(audit())
    days_91 = later(NOW, 91 * 86_400_000)
    monkeypatch.setattr("cluster.runtime.clock.SystemClock.now", lambda _self: days_91)
    answer = audit()
    assert kinds(answer) == {}
    assert answer.json["too_old"] == 1


def test_messages_that_were_swept_do_not_make_books_differ(
    audit: Callable[..., Answer], broken: Broken, monkeypatch: pytest.MonkeyPatch
) -> None:
    for statement in (
        "DELETE FROM body_ids",
        "DELETE FROM buffer",
        "DELETE FROM timeline",
        "DELETE FROM journal WHERE seq < (SELECT max(seq) FROM journal)",
        "UPDATE bodies SET block = 7, packed = x'9590c0909090'",
    ):
        broken.change(statement)
    assert kinds(audit("--no-outbox")) == {"books_differ": 1}
    days_91 = later(NOW, 91 * 86_400_000)
    monkeypatch.setattr("cluster.runtime.clock.SystemClock.now", lambda _self: days_91)
    answer = audit()
    assert kinds(answer) == {}
    assert answer.json["books_too_old"] == 2
    assert answer.json["lines_too_old"] > 0


@pytest.mark.parametrize(("age_days", "is_found"), [(86, True), (88, False)])
def test_a_timeline_whose_message_was_swept_first_is_no_finding(
    audit: Callable[..., Answer],
    broken: Broken,
    monkeypatch: pytest.MonkeyPatch,
    age_days: int,
    is_found: bool,
) -> None:
    broken.change("DELETE FROM body_ids WHERE id = ?", broken.victim)
    broken.change("DELETE FROM buffer")
    now = later(NOW, age_days * 86_400_000)
    monkeypatch.setattr("cluster.runtime.clock.SystemClock.now", lambda _self: now)
    assert kinds(audit("--no-outbox")) == ({"message_missing": 1} if is_found else {})


def test_a_line_that_is_newer_than_the_view_is_looked_up_again(
    shardpost: Shardpost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = FilledFolder(tmp_path / "data")
    ids: list[MessageId] = []

    async def accept() -> None:
        ids.extend(await folder.accept(4))
        await folder.close()
        for id_ in ids:
            folder.outbox_file(folder.messages[id_].lane).touch()

    async def claim() -> None:
        await folder.append(ids[:2], Event.CLAIM)
        await folder.append(ids[2:3], Event.EXPIRE)
        folder.write_lines(ids)
        await folder.close()

    def meanwhile(*arguments: Any) -> Any:
        if not folder.lanes:
            with ThreadPoolExecutor() as another:
                another.submit(asyncio.run, claim()).result()
        return read_lines(*arguments)

    asyncio.run(accept())
    monkeypatch.setattr("actors.cli.audit_command.read_lines", meanwhile)
    lock = PlatformLock.take(folder.path)
    try:
        lock.publish(PlatformAddress(ray_address="x", namespace="s", dashboard_url="", pid=1))
        answer = shardpost("audit", "--data", folder.path, "--json")
    finally:
        lock.release()
    assert answer.json["is_running"] is True
    assert answer.json["lines"] == 4
    # Two were claimed meanwhile; of the others one expired and one has no event at all.
    assert kinds(answer) == {"line_unclaimed": 2}
    assert {one["id"] for one in answer.json["findings"]} == {id_.hex() for id_ in ids[2:]}


def test_a_running_platform_is_said(shardpost: Shardpost, broken: Broken) -> None:
    lock = PlatformLock.take(broken.path)
    try:
        lock.publish(PlatformAddress(ray_address="x", namespace="s", dashboard_url="", pid=1))
        told = shardpost("audit", "--data", broken.path).out
    finally:
        lock.release()
    assert told.startswith("The platform runs: each core is judged as it stood")


def test_findings_are_listed_for_a_person_with_what_they_mean(
    shardpost: Shardpost, broken: Broken, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.cli.audit.findings.FINDINGS_KEPT_MAX", 3)
    broken.lines_file.write_bytes(b"")
    answer = shardpost("audit", "--data", broken.path)
    assert answer.code == 9
    assert MEANINGS[FindingKind.LINE_MISSING] in answer.out
    listed = [line for line in answer.out.splitlines() if line.startswith("line_missing  ")]
    assert len(listed) == 3
    assert "more are not listed" in answer.out
