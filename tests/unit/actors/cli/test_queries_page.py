"""docs/operating/queries.md says what the program does."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from actors.cli.audit.findings import MEANINGS as FINDINGS
from actors.cli.audit.findings import Finding
from actors.cli.audit_command import AuditReport
from actors.cli.doctor import DoctorReport
from actors.cli.generations_command import GenerationReport, GenerationsReport, NodeReport
from actors.cli.group import GroupReport
from actors.cli.health_checks import Check
from actors.cli.lanes import LaneReport, LanesReport
from actors.cli.main import COMMANDS
from actors.cli.messages import MessageReport, MessagesReport
from actors.cli.status import StatusReport
from actors.cli.trace import TracedEvent, TraceReport
from actors.cli.version import VersionReport
from pipeline.lifecycle import MessageState
from tests.support.cli_answer import Shardpost
from tests.support.queries_page import NOT_MADE_AGAIN, PAGE, examples, fill, made_again, run_in

TEXT = PAGE.read_text(encoding="utf-8")
SECTION_OF = {
    "status": "Is it running",
    "lanes": "Lanes",
    "generations": "Which ring",
    "group": "The books of a group",
    "messages": "Which messages?",
    "trace": "What happened to one?",
    "audit": "Is it all true?",
    "doctor": "Is everything as it should be?",
    "version": "Which versions?",
}

ACTS = {
    *("up", "send", "demo", "suppress"),
    *("export", "connectors", "backup", "restore", "schema", "alignment"),
    *("cancel", "edit", "expedite", "pause", "resume", "resolve", "resend"),
}


def section(command: str) -> str:
    [found] = [part for part in TEXT.split("\n## ")[1:] if part.startswith(SECTION_OF[command])]
    return found


def test_every_example_is_what_the_program_answers(tmp_path: Path, shardpost: Shardpost) -> None:
    asyncio.run(fill(tmp_path / "data"))
    assert made_again(TEXT, run_in(tmp_path / "data")) == TEXT


def test_every_query_has_an_example() -> None:
    shown = {command.split()[1] for command, output in examples(TEXT) if output}
    # What acts has pages of its own.
    assert shown == {one for one in COMMANDS if one not in ACTS} == set(SECTION_OF)


@pytest.mark.parametrize("command", NOT_MADE_AGAIN)
def test_what_a_machine_decides_is_shown_in_the_right_form(
    shardpost: Shardpost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    asyncio.run(fill(tmp_path / "data"))
    [shown] = [output for asked, output in examples(TEXT) if asked == command]
    monkeypatch.setenv("SHARDPOST_DATA", str(tmp_path / "data"))
    answer = shardpost(command.split()[1])
    column = 0 if command.endswith("version") else 1
    answered = {line.split()[column] for line in answer.out.split("\n\n")[0].splitlines()}
    assert answered <= {line.split()[column] for line in shown.split("\n\n")[0].splitlines()}


@pytest.mark.parametrize(
    ("command", "report"),
    [
        ("status", StatusReport),
        ("lanes", LanesReport),
        ("lanes", LaneReport),
        ("generations", GenerationsReport),
        ("generations", GenerationReport),
        ("generations", NodeReport),
        ("group", GroupReport),
        ("messages", MessagesReport),
        ("messages", MessageReport),
        ("trace", TraceReport),
        ("trace", TracedEvent),
        ("audit", AuditReport),
        ("audit", Finding),
        ("doctor", DoctorReport),
        ("doctor", Check),
        ("version", VersionReport),
    ],
)
def test_every_key_is_told(command: str, report: type[msgspec.Struct]) -> None:
    keys = {field.encode_name for field in msgspec.structs.fields(report)}
    told = section(command)
    assert {key for key in keys if f"`{key}`" not in told and f'"{key}"' not in told} == set()


def test_every_state_and_every_finding_is_told() -> None:
    assert all(f"`{state}`" in section("messages") for state in MessageState)
    assert all(
        f"| `{kind}` | {meaning} |" in section("audit") for kind, meaning in FINDINGS.items()
    )
