"""Answers as people and programs read them."""

import io
import sys

import msgspec
import pytest

from actors.cli.output import (
    printable,
    shown_instant,
    shown_span,
    write_fields,
    write_json,
    write_table,
)
from pipeline.instant import Instant


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def test_a_table_through_a_pipe_is_aligned_and_plain(capsys: pytest.CaptureFixture[str]) -> None:
    write_table(("name", "count"), [("a", 1), ("longer", 12_345), ("c", None)])
    assert capsys.readouterr().out == (
        "name     count\n"
        "a            1\n"
        "longer  12,345\n"
        "c            -\n"
    )  # fmt: skip


def test_no_line_ends_in_spaces(capsys: pytest.CaptureFixture[str]) -> None:
    write_table(("name", "detail"), [("a", "long detail"), ("b", "")])
    assert all(line == line.rstrip() for line in capsys.readouterr().out.splitlines())


def test_a_table_without_rows_is_its_headings(capsys: pytest.CaptureFixture[str]) -> None:
    write_table(("name", "count"), [])
    assert capsys.readouterr().out == "name  count\n"


def test_a_table_on_a_terminal_has_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    write_table(("name", "count"), [("[bold]a[/bold]", 1_234)])
    assert "─" in terminal.getvalue()
    assert "[bold]a[/bold]" in terminal.getvalue()  # what users wrote is no markup
    assert "1,234" in terminal.getvalue()


def test_fields_stand_below_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    write_fields({"a": 1, "longer": "x"})
    assert capsys.readouterr().out == "a       1\nlonger  x\n"


def test_a_document_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    class Report(msgspec.Struct):
        text: str

    write_json(Report("a\nb"))
    assert capsys.readouterr().out == '{"text":"a\\nb"}\n'


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain 文字 é", "plain 文字 é"),
        ("a\x1b[31mb", "a\\x1b[31mb"),
        ("a\nb\tc\0", "a\\nb\\tc\\x00"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
    ],
)
def test_nothing_that_speaks_to_a_terminal_reaches_it(text: str, shown: str) -> None:
    assert printable(text) == shown


@pytest.mark.parametrize(
    ("span_us", "shown"),
    [
        (0, "0.0 ms"),
        (1_250, "1.2 ms"),
        (999_900, "999.9 ms"),
        (1_000_000, "1.0 s"),
        (119_000_000, "119.0 s"),
        (120_000_000, "2 min"),
        (7_200_000_000, "2 h"),
        (172_800_000_000, "2 days"),
        (-1_500_000, "-1.5 s"),
    ],
)
def test_a_span_is_as_precise_as_people_want_it(span_us: int, shown: str) -> None:
    assert shown_span(span_us) == shown


def test_an_instant_is_in_utc() -> None:
    assert shown_instant(Instant(1_700_000_000_123_456)) == "2023-11-14T22:13:20.123+00:00"
