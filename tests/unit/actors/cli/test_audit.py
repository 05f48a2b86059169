"""The audit finds nothing where nothing is wrong: after a crash, with time, while it runs."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from actors.cli.audit.findings import MEANINGS, FindingKind
from actors.cli.audit.outbox_files import read_lines
from cluster.local.platform_lock import PlatformAddress, PlatformLock
from pipeline.instant import later
from pipeline.lifecycle import Event, step_of
from pipeline.message import MessageId
from tests.support.broken_folder import COUNT, Broken, kinds
from tests.support.cli_answer import Answer, Shardpost
from tests.support.fake_clock import NOW
from tests.support.filled_folder import FilledFolder

CLAIM, TAKE = (
    int(step_of(attempt=1, try_no=1, event=event)) for event in (Event.CLAIM, Event.TAKE)
)


# --- what is right --------------------------------------------------------------------------------


def test_nothing_is_found_where_nothing_is_wrong(audit: Callable[..., Answer]) -> None:
    answer = audit()
    assert kinds(answer) == {}
    assert {key: value for key, value in answer.json.items() if isinstance(value, int)} == {
        "is_running": False,
        "messages": COUNT,
        "without_event": 0,
        "rows": COUNT,
        "timers": 0,
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


@pytest.mark.parametrize("kind", FindingKind)
def test_every_kind_of_finding_is_found_by_a_test_that_makes_the_damage(kind: FindingKind) -> None:
    here = Path(__file__).parent
    texts = [path.read_text(encoding="utf-8") for path in here.glob("test_audit*.py")]
    assert any(f'"{kind}"' in text for text in texts), kind
