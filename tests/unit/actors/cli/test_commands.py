"""What the program records for the lanes when something is asked of messages, and what it tells."""

import asyncio
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from actors.cli.asked_messages import parse_ids, pk_of
from actors.cli.command_desk import Asked, CommandDesk
from actors.cli.open_queries import OpenQueries
from cluster.local.platform_lock import PlatformAddress
from cluster.local.queries import LocalQueries
from cluster.local.store import LocalStore
from cluster.runtime.clock import SystemClock
from cluster.topology.generation import Core
from pipeline.command import CommandBody, Kept, decode_command
from pipeline.errors import InputInvalid
from pipeline.ingest.ids import ordering_pk
from pipeline.instant import Instant, later
from pipeline.lane_id import LaneId
from pipeline.later import CommandEntry, CommandResult, GroupOrder
from pipeline.lifecycle import Event
from pipeline.limits import Windows
from pipeline.message import MessageId, PartitionKey, Submission, TimerRow, decode_body
from tests.support.cli_answer import Fill, Shardpost
from tests.support.filled_folder import FilledFolder
from tests.unit.actors.cli.conftest import LOOKED_AT

FAR = Instant(2**62)


class Data:
    """A folder with messages in every state that matters here."""

    path: Path
    waiting: list[MessageId]
    sent: list[MessageId]
    uncertain: list[MessageId]

    def commands(self) -> list[tuple[CommandEntry, CommandBody]]:
        """Return what was recorded, lane by lane."""

        async def read() -> list[CommandEntry]:
            store = LocalStore.open(self.path, cores=None, clock=SystemClock(), windows=Windows())
            try:
                found: list[CommandEntry] = []
                for core in (await store.read_generations())[0].cores:
                    for lane in await store.read_lanes(core, 1):
                        page = await store.read_commands(
                            lane, from_at=Instant(0), through_at=FAR, limit=1_000, resume=None
                        )
                        found += [entry for _, entry in page.rows]
                return found
            finally:
                await store.close()

        return [(entry, decode_command(entry.payload)) for entry in asyncio.run(read())]

    def orders(self) -> list[list[GroupOrder]]:
        """Return the orders of each core."""

        async def read() -> list[list[GroupOrder]]:
            store = LocalStore.open(self.path, cores=None, clock=SystemClock(), windows=Windows())
            try:
                cores = (await store.read_generations())[0].cores
                return [await store.read_group_orders(core) for core in cores]
            finally:
                await store.close()

        return asyncio.run(read())


@pytest.fixture
def data(fill: Fill) -> Data:
    made = Data()

    async def some(folder: FilledFolder) -> None:
        made.waiting = await folder.accept(3, group="spring")
        made.sent = await folder.accept(1, group="spring")
        await folder.send(made.sent)
        made.uncertain = await folder.accept(2, group="spring")
        await folder.append(made.uncertain, Event.CLAIM)
        await folder.append(made.uncertain, Event.LOSE_ANSWER)
        await folder.finish()

    made.path = fill(some).path
    return made


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Pretend that a platform runs, and that lanes answer as a test says, `done` otherwise."""
    said: dict[str, str] = {}
    of_asked: dict[bytes, str] = {}
    ask = CommandDesk.ask

    async def remembering(self: CommandDesk, messages: Sequence[Any], of: Any) -> list[Asked]:
        asked = await ask(self, messages, of)
        of_asked.update(
            (one.id, message.id.hex()) for one, message in zip(asked, messages, strict=True)
        )
        return asked

    async def answers(
        _self: CommandDesk, asked: Sequence[Asked], *, within_s: float
    ) -> dict[Asked, CommandResult]:
        told = {one: said.get(of_asked.get(one.id, ""), "done") for one in asked}
        return {
            one: CommandResult(one.id, str(one.lane), LOOKED_AT, verdict, "why", {})
            for one, verdict in told.items()
            if verdict != "silence" and within_s
        }

    address = PlatformAddress(ray_address="", namespace="", dashboard_url="", pid=1)
    monkeypatch.setattr(OpenQueries, "platform", lambda _self: address)
    monkeypatch.setattr(CommandDesk, "ask", remembering)
    monkeypatch.setattr(CommandDesk, "answers", answers)
    return said


# --- messages -------------------------------------------------------------------------------------


def test_a_command_is_recorded_with_who_asks_and_why_though_nothing_runs(
    shardpost: Shardpost, data: Data
) -> None:
    first = data.waiting[0]
    answer = shardpost(
        *("cancel", first.hex(), "--reason", "wrong list", "--by", "ada", "--data", data.path),
        "--json",
    )
    assert answer.code == 0
    assert answer.json["recorded"] == 1
    assert not answer.json["is_running"]
    [(entry, body)] = data.commands()
    assert (entry.kind, entry.message_id, entry.by) == ("cancel", first, "ada")
    assert body.detail == "wrong list"
    assert body.group == "default/spring"
    assert body.born > 0
    told = shardpost("cancel", first.hex(), "--data", data.path)
    assert "No platform runs" in told.out


def test_a_beginning_is_enough_and_a_file_may_name_many(
    shardpost: Shardpost, data: Data, tmp_path: Path
) -> None:
    file = tmp_path / "ids"
    file.write_text("".join(f"{id_.hex()}\n\n" for id_ in data.waiting))
    answer = shardpost(
        *("expedite", data.sent[0].hex()[:31], "--ids", file, "--data", data.path, "--json")
    )
    assert answer.json["asked"] == 4
    assert {entry.message_id for entry, _ in data.commands()} == {*data.waiting, *data.sent}


@pytest.mark.parametrize(("arguments", "file"), [(["-", "b" * 32], None), ([], Path("-"))])
def test_ids_come_from_standard_input_and_each_counts_once(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], file: Path | None
) -> None:
    monkeypatch.setattr("sys.stdin", given(f"{'a' * 32}\n{'B' * 32}\n{'a' * 32}\n".encode()))
    assert parse_ids(arguments, file) == ["a" * 32, "b" * 32]


def given(content: bytes) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(content), encoding="utf-8")


def test_ids_that_are_no_text_are_refused_wherever_they_come_from(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "ids").write_bytes(b"\xff\xfe")
    monkeypatch.setattr("sys.stdin", given(b"\xff\xfe"))
    for arguments, file in ((["-"], None), ([], tmp_path / "ids")):
        with pytest.raises(InputInvalid, match="is not UTF-8"):
            parse_ids(arguments, file)


def test_ids_without_an_end_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("actors.cli.asked_messages.IDS_BYTES_MAX", 100)
    (tmp_path / "ids").write_text("a" * 101)
    with pytest.raises(InputInvalid, match="more than 100 bytes"):
        parse_ids([], tmp_path / "ids")
    (tmp_path / "ids").write_text("a" * 32 + "\n" * 68)
    assert parse_ids([], tmp_path / "ids") == ["a" * 32]


@pytest.mark.parametrize("wait", ["nan", "inf", "-1", "86401"])
def test_nobody_waits_for_ever(shardpost: Shardpost, data: Data, wait: str) -> None:
    answer = shardpost("cancel", data.waiting[0].hex(), "--wait", wait, "--data", data.path)
    assert answer.code == 2
    assert "--wait: 0 to 86400 seconds" in answer.refusal
    assert data.commands() == []


@pytest.mark.parametrize("text", ["zz\n", "abc\n"])
def test_a_file_with_one_wrong_id_asks_for_nothing(
    shardpost: Shardpost, data: Data, tmp_path: Path, text: str
) -> None:
    file = tmp_path / "ids"
    file.write_text(data.waiting[0].hex() + "\n" + text)
    answer = shardpost("cancel", "--ids", file, "--data", data.path)
    assert answer.code == 3
    assert "line 2" in answer.refusal
    assert data.commands() == []


def test_what_is_no_message_is_told_and_the_others_are_asked(
    shardpost: Shardpost, data: Data, answering: dict[str, str]
) -> None:
    answer = shardpost("cancel", data.waiting[0].hex(), "f" * 32, "--data", data.path, "--json")
    assert answer.code == 14
    assert (answer.json["done"], answer.json["unknown"]) == (1, 1)
    alone = shardpost("cancel", "f" * 32, "--data", data.path)
    assert alone.code == 11
    assert "f" * 32 in alone.refusal


@pytest.mark.parametrize(
    ("verdict", "code", "field"),
    [
        ("done", 0, "done"),
        ("too_late", 14, "too_late"),
        ("refused", 14, "refused"),
        ("silence", 10, "recorded"),
    ],
)
def test_the_exit_code_says_what_the_lane_said(
    shardpost: Shardpost,
    data: Data,
    answering: dict[str, str],
    verdict: str,
    code: int,
    field: str,
) -> None:
    answering[data.sent[0].hex()] = verdict
    answer = shardpost("cancel", data.sent[0].hex(), "--data", data.path, "--json")
    assert answer.code == code
    assert answer.json[field] == 1
    told = shardpost("cancel", data.sent[0].hex(), "--data", data.path)
    assert told.code == code


def test_lanes_are_rung_once_their_commands_are_there(
    shardpost: Shardpost, data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    write = LocalStore.write_commands

    async def writing(self: LocalStore, lane: LaneId, entries: Sequence[CommandEntry]) -> None:
        await write(self, lane, entries)
        done.append(f"wrote {lane}")

    def ring(folder: Path, core: Core, lanes: Sequence[str]) -> None:
        assert folder == data.path.absolute()
        assert all(lane.startswith(f"1.{core.node}.{core.shard}.") for lane in lanes)
        done.extend(f"rang {lane}" for lane in lanes)

    monkeypatch.setattr(LocalStore, "write_commands", writing)
    monkeypatch.setattr("actors.cli.command_runs.ring", ring)
    messages = [id_.hex() for id_ in data.waiting]
    for arguments in ((*messages,), ("--group", "spring")):
        shardpost("pause", *arguments, "--no-wait", "--data", data.path)
        wrote = [lane for what, lane in map(str.split, done) if what == "wrote"]
        assert wrote
        assert done == [f"wrote {lane}" for lane in wrote] + [f"rang {lane}" for lane in wrote]
        done.clear()


def test_who_does_not_wait_is_told_that_it_is_recorded(
    shardpost: Shardpost, data: Data, answering: dict[str, str]
) -> None:
    answer = shardpost("cancel", data.sent[0].hex(), "--no-wait", "--data", data.path, "--json")
    assert answer.code == 0
    assert answer.json["recorded"] == 1


def test_an_ordered_message_is_looked_for_where_its_key_lies() -> None:
    id_ = MessageId(b"i" * 16)
    ordered = Submission(
        tenant="acme", channel="sms", recipient="+447700900123", content="x", ordering_key="k"
    )
    assert pk_of(id_, ordered) == ordering_pk(tenant="acme", ordering_key="k")
    assert pk_of(id_, msgspec.structs.replace(ordered, ordering_key="")) == PartitionKey(id_)


def test_a_dry_run_counts_and_asks_for_nothing(shardpost: Shardpost, data: Data) -> None:
    ids = [id_.hex() for id_ in data.waiting]
    answer = shardpost("cancel", *ids, "--dry-run", "--data", data.path, "--json")
    assert answer.json["asked"] == 3
    group = shardpost("cancel", "--group", "spring", "--dry-run", "--data", data.path, "--json")
    assert group.json["messages_open"] == 3
    assert data.commands() == []
    assert data.orders() == [[], []]


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (("cancel",), "--group"),
        (("cancel", "a" * 32, "--group", "spring"), "one of them"),
        (("resolve", "a" * 32, "--reason", "x"), "--as"),
        (("resolve", "a" * 32, "--as", "sent"), "--reason"),
        (("resend", "a" * 32), "--reason"),
        (("resend", "--group", "spring", "--reason", "x"), "--state"),
        (("resolve", "--group", "g", "--state", "failed", "--as", "sent", "--reason", "x"), "--st"),
        (("edit", "a" * 32), "--content"),
        (("edit", "a" * 32, "--at", "x", "--in", "2h"), "give one"),
        (("cancel", "a" * 32, "--reason", "x" * 1_001), "--reason"),
        (("cancel", "a" * 32, "--by", ""), "--by"),
    ],
)
def test_a_command_that_says_too_little_or_too_much_is_not_begun(
    shardpost: Shardpost, data: Data, arguments: tuple[str, ...], hint: str
) -> None:
    answer = shardpost(*arguments, "--data", data.path)
    assert answer.code == 2
    assert hint in answer.refusal
    assert data.commands() == []


# --- what they say --------------------------------------------------------------------------------


def test_an_edited_message_keeps_whom_it_is_for(shardpost: Shardpost, data: Data) -> None:
    shardpost("edit", data.waiting[1].hex(), "--content", "better", "--data", data.path)
    [(entry, body)] = data.commands()
    assert entry.kind == "edit"
    edited = decode_body(body.body)
    assert edited.content == "better"
    assert (edited.recipient, edited.group) == ("+447700900001", "spring")
    assert not body.due_at


def test_other_words_leave_the_time_as_it_is(
    shardpost: Shardpost, data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    due_at = later(LOOKED_AT, 60_000)

    async def timers_of(_self: object, _lane: object, message_id: MessageId) -> list[TimerRow]:
        pk = PartitionKey(message_id)
        return [
            (due_at, message_id, pk, LOOKED_AT, attempt, "default/spring") for attempt in (2, 1)
        ]

    monkeypatch.setattr(LocalQueries, "timers_of", timers_of)
    shardpost("edit", data.waiting[0].hex(), "--content", "better", "--data", data.path)
    [(_, body)] = data.commands()
    assert body.due_at == due_at


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        (("--content", "better"), Kept.TIMES | Kept.DUE),
        (("--in", "2h"), Kept.CONTENT),
        (("--expires", "3h"), Kept.CONTENT | Kept.DUE),
        (("--in", "2h", "--content", "better"), Kept(0)),
    ],
)
def test_an_edit_says_what_it_leaves_as_it_is(
    shardpost: Shardpost, data: Data, said: tuple[str, ...], kept: Kept
) -> None:
    shardpost("edit", data.waiting[0].hex(), *said, "--data", data.path)
    [(_, body)] = data.commands()
    assert body.keeps == kept


def test_what_is_paused_stays_so_until_its_new_end(
    shardpost: Shardpost, data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def timers_of(_self: object, _lane: object, message_id: MessageId) -> list[TimerRow]:
        end = later(LOOKED_AT, Windows().validity_ms_max)
        return [(end, message_id, PartitionKey(message_id), LOOKED_AT, 1, "default/spring")]

    monkeypatch.setattr(LocalQueries, "timers_of", timers_of)
    shardpost("edit", data.waiting[0].hex(), "--expires", "3h", "--data", data.path)
    [(_, body)] = data.commands()
    assert body.due_at == decode_body(body.body).expires_at
    assert body.due_at is not None
    assert body.due_at < later(LOOKED_AT, 4 * 3_600_000)


def test_another_time_is_said_to_the_row_and_in_the_body(shardpost: Shardpost, data: Data) -> None:
    shardpost("edit", data.waiting[0].hex(), "--in", "2h", "--data", data.path)
    [(_, body)] = data.commands()
    edited = decode_body(body.body)
    assert body.due_at == edited.due_at == later(LOOKED_AT, 2 * 3_600_000)
    assert edited.content == "number 0"


def test_what_cannot_be_edited_so_is_refused_here(shardpost: Shardpost, data: Data) -> None:
    answer = shardpost(
        *("edit", data.waiting[0].hex(), "--content", "", "--data", data.path, "--json")
    )
    assert answer.code == 14
    assert "empty" in answer.json["messages"][0]["detail"]
    assert data.commands() == []


@pytest.mark.parametrize(
    ("wish", "told"),
    [
        (("--at", "tomorrow"), "--at: not a date and time"),
        (("--in", "5x"), "--in: not a date and time"),
        (("--content", "new", "--expires", "soon"), "--expires: not a date and time"),
        (("--in", "2h", "--time-zone", "Mars/X"), "--time-zone: 'Mars/X' is no time zone"),
    ],
)
def test_what_is_no_time_for_any_message_is_refused_once(
    shardpost: Shardpost, data: Data, wish: tuple[str, ...], told: str
) -> None:
    ids = [id_.hex() for id_ in data.waiting]
    answer = shardpost("edit", *ids, *wish, "--data", data.path)
    assert answer.code == 3
    assert answer.refusal.startswith(f"shardpost: {told}")
    assert answer.refusal.endswith("; nothing was asked")
    assert data.commands() == []


def test_a_paused_message_waits_until_it_expires(shardpost: Shardpost, data: Data) -> None:
    shardpost("pause", data.waiting[0].hex(), "--data", data.path)
    [(_, body)] = data.commands()
    assert body.due_at == later(Instant(body.born), Windows().validity_ms_max)


@pytest.mark.parametrize(
    ("as_state", "event"),
    [("sent", Event.TAKE), ("delivered", Event.DELIVER), ("failed", Event.REFUSE)],
)
def test_a_resolution_says_what_became_of_it(
    shardpost: Shardpost, data: Data, as_state: str, event: Event
) -> None:
    shardpost(
        *("resolve", data.uncertain[0].hex(), "--as", as_state, "--reason", "they say so"),
        *("--data", data.path),
    )
    [(entry, body)] = data.commands()
    assert (entry.kind, body.event, body.detail) == ("resolve", event, "they say so")


def test_what_is_uncertain_of_a_group_is_asked_for_page_by_page(
    shardpost: Shardpost, data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.cli.asked_messages.COMMANDS_A_WRITE_MAX", 1)
    answer = shardpost(
        *("resend", "--group", "spring", "--state", "uncertain", "--reason", "asked them"),
        *("--yes", "--data", data.path, "--json"),
    )
    assert answer.json["asked"] == 2
    assert {entry.message_id for entry, _ in data.commands()} == {*data.uncertain}
    nothing = shardpost(
        *("resend", "--group", "spring", "--state", "failed", "--reason", "x", "--yes"),
        *("--data", data.path),
    )
    assert nothing.code == 11


def test_what_touches_many_is_asked_back(shardpost: Shardpost, data: Data) -> None:
    for arguments in (
        ("cancel", "--group", "spring"),
        ("resend", "--group", "spring", "--state", "uncertain", "--reason", "x"),
    ):
        answer = shardpost(*arguments, "--data", data.path)
        assert answer.code == 2
        assert "--yes" in answer.refusal
    assert data.commands() == []


# --- groups ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["cancel", "pause", "resume", "expedite"])
def test_a_groups_command_is_an_order_on_every_core_and_a_row_in_every_lane(
    shardpost: Shardpost, data: Data, kind: str
) -> None:
    answer = shardpost(
        *(kind, "--group", "spring", "--yes", "--by", "ada", "--data", data.path, "--json")
    )
    assert answer.code == 0
    rows = [entry for entry, _ in data.commands()]
    assert len(rows) == len(answer.json["lanes"]) > 1
    assert {(row.kind, row.group, row.message_id, row.by) for row in rows} == {
        (kind, "default/spring", b"", "ada")
    }
    assert len({row.id for row in rows}) == 1
    orders = data.orders()
    if kind == "expedite":
        assert orders == [[], []], "it says nothing about what comes later"
    else:
        assert [[(one.group, one.kind, one.command_id) for one in core] for core in orders] == [
            [("default/spring", kind, rows[0].id)]
        ] * 2


def test_the_order_is_there_before_the_first_row(
    shardpost: Shardpost, data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def no_rows(*_arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(LocalStore, "write_commands", no_rows)
    shardpost("pause", "--group", "spring", "--data", data.path)
    assert all(data.orders())


def test_a_group_that_nobody_knows_is_not_stopped(shardpost: Shardpost, data: Data) -> None:
    answer = shardpost("cancel", "--group", "sprong", "--yes", "--data", data.path)
    assert answer.code == 11
    assert data.orders() == [[], []]


def test_an_order_of_a_clock_that_was_set_back_is_told(
    shardpost: Shardpost, data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SystemClock, "now", lambda _self: later(LOOKED_AT, 5_000))
    shardpost("pause", "--group", "spring", "--by", "ada", "--data", data.path)
    monkeypatch.setattr(SystemClock, "now", lambda _self: LOOKED_AT)
    answer = shardpost("resume", "--group", "spring", "--data", data.path)
    assert answer.code == 3
    assert "ada" in answer.refusal
    assert "clock" in answer.refusal
