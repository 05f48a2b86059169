import io
import json
import stat
from pathlib import Path
from typing import Any

import pytest

from actors.cli.chunks import read_chunks
from actors.cli.input_file import InputFile, open_input
from actors.cli.mapping import FieldOptions, resolve_mapping
from actors.cli.record_batch import Refused
from actors.cli.rejects import RejectFile
from pipeline.errors import InputInvalid


def make_file(folder: Path, name: str = "contacts.csv", data: bytes = b"") -> InputFile:
    path = folder / name
    path.write_bytes(data or b"phone,text\n+447911123456,hello\n")
    return open_input(str(path), format_name=None if path.suffix else "csv")


def make_refused(line_number: int = 2, raw: bytes = b"x,y", **said: Any) -> Refused:
    return Refused(line_number=line_number, reason="because", raw=raw, **said)


def reasons_in(rejects: RejectFile) -> list[dict[str, Any]]:
    assert rejects.reasons_path is not None
    return [json.loads(line) for line in rejects.reasons_path.read_bytes().splitlines()]


def test_without_a_refused_record_there_is_no_file(tmp_path: Path) -> None:
    file = make_file(tmp_path)
    rejects = RejectFile(file)
    rejects.write([])
    assert rejects.close() is None
    assert [path.name for path in tmp_path.iterdir()] == ["contacts.csv"]
    file.close()


def test_refused_records_go_beside_the_input_with_its_header_and_reasons(tmp_path: Path) -> None:
    file = make_file(tmp_path)
    with RejectFile(file) as rejects:
        rejects.write([make_refused(3, b'a,"b\nc"'), make_refused(5, b"d")])
        rejects.write([make_refused(9, b"e\xff\r")])
    assert rejects.path == tmp_path / "contacts.rejected.csv"
    assert rejects.path.read_bytes() == b'phone,text\na,"b\nc"\nd\ne\xff\r\n'
    assert rejects.reasons_path == tmp_path / "contacts.rejected.reasons.jsonl"
    assert reasons_in(rejects) == [
        {"line": 3, "reason": "because", "reject_line": 2},
        {"line": 5, "reason": "because", "reject_line": 4},
        {"line": 9, "reason": "because", "reject_line": 5},
    ]
    file.close()


def test_the_last_line_says_where_they_are(tmp_path: Path) -> None:
    file = make_file(tmp_path)
    rejects = RejectFile(file)
    rejects.write([make_refused()])
    told = rejects.close()
    assert told is not None
    assert told.startswith(f"1 refused record: {tmp_path}/contacts.rejected.csv, reasons: ")
    assert rejects.close() == told
    file.close()


def test_what_can_be_read_is_on_the_disk_before_the_end(tmp_path: Path) -> None:
    file = make_file(tmp_path)
    rejects = RejectFile(file)
    rejects.write([make_refused()])
    assert rejects.path is not None
    assert rejects.path.read_bytes() == b"phone,text\nx,y\n"
    assert len(reasons_in(rejects)) == 1
    rejects.close()
    file.close()


@pytest.mark.parametrize("taken", ["contacts.rejected.csv", "contacts.rejected.reasons.jsonl"])
def test_what_an_earlier_run_wrote_is_never_overwritten(tmp_path: Path, taken: str) -> None:
    file = make_file(tmp_path)
    (tmp_path / taken).write_text("earlier")
    (tmp_path / "contacts.rejected-2.csv").write_text("earlier")
    with RejectFile(file) as rejects:
        rejects.write([make_refused()])
    assert rejects.path == tmp_path / "contacts.rejected-3.csv"
    assert rejects.reasons_path == tmp_path / "contacts.rejected-3.reasons.jsonl"
    assert (tmp_path / taken).read_text() == "earlier"
    file.close()


def test_a_name_of_which_half_is_taken_is_left_alone(tmp_path: Path) -> None:
    file = make_file(tmp_path)
    (tmp_path / "contacts.rejected.csv").write_text("of another")
    with RejectFile(file) as rejects:
        rejects.write([make_refused()])
    assert rejects.path == tmp_path / "contacts.rejected-2.csv"
    assert not (tmp_path / "contacts.rejected.reasons.jsonl").exists()
    assert (tmp_path / "contacts.rejected.csv").read_text() == "of another"
    file.close()


def test_only_the_owner_may_read_what_was_refused(tmp_path: Path) -> None:
    file = make_file(tmp_path)
    with RejectFile(file) as rejects:
        rejects.write([make_refused()])
    assert rejects.path is not None
    assert rejects.reasons_path is not None
    for path in (rejects.path, rejects.reasons_path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    file.close()


def test_a_record_that_was_not_kept_whole_stands_among_the_reasons_only(tmp_path: Path) -> None:
    file = make_file(tmp_path)
    with RejectFile(file) as rejects:
        rejects.write([make_refused(2, b"+4479\xff", is_whole=False), make_refused(3, b"a,b")])
    assert rejects.path is not None
    assert rejects.path.read_bytes() == b"phone,text\na,b\n"
    assert reasons_in(rejects) == [
        {"line": 2, "reason": "because", "reject_line": None, "begins": "+4479\ufffd"},
        {"line": 3, "reason": "because", "reject_line": 2},
    ]
    assert rejects.count == 2
    file.close()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.CSV", "a.rejected.CSV"),
        ("a.b.csv", "a.b.rejected.csv"),
        ("contacts", "contacts.rejected.csv"),
        ("list.txt", "list.rejected.csv"),
    ],
)
def test_the_name_of_a_reject_file_tells_its_format(
    tmp_path: Path, name: str, expected: str
) -> None:
    file = make_file(tmp_path, name)
    with RejectFile(file) as rejects:
        rejects.write([make_refused()])
    assert rejects.path == tmp_path / expected
    file.close()


def test_refused_records_of_standard_input_go_where_the_process_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = open_input("-", standard_input=io.BytesIO(b'{"to": 1}\n'))
    with RejectFile(file) as rejects:
        rejects.write([make_refused(raw=b'{"to": 1}')])
    assert (tmp_path / "stdin.rejected.jsonl").read_bytes() == b'{"to": 1}\n'


def test_another_folder_can_be_named_and_is_made(tmp_path: Path) -> None:
    file = make_file(tmp_path)
    folder = tmp_path / "deep" / "rejects"
    with RejectFile(file, folder=folder) as rejects:
        rejects.write([make_refused()])
    assert rejects.path == folder / "contacts.rejected.csv"
    file.close()


def test_a_folder_that_cannot_be_written_is_one_line_that_says_what_to_change(
    tmp_path: Path,
) -> None:
    file = make_file(tmp_path)
    with pytest.raises(InputInvalid) as caught:
        RejectFile(file, folder=tmp_path / "contacts.csv" / "x").write([make_refused()])
    assert "refused records cannot be written there" in str(caught.value)
    assert "--rejects" in str(caught.value)
    file.close()


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.csv", b'phone,text\r\nbad,"x,\r\ny"\r\n+447911123456,good\r\nbad,z\r\n'),
        ("a.tsv", b'phone\ttext\nbad\t"x\n+447911123456\tgood\nbad\tz\n'),
        ("a.jsonl", b'{"phone":"bad","text":"x"}\n{"phone":"+447911123456","text":"g"}\n[]\n'),
    ],
)
def test_a_mended_reject_file_can_be_sent_as_a_file_of_its_own(
    tmp_path: Path, name: str, data: bytes
) -> None:
    def refuse_into(file: InputFile) -> tuple[RejectFile, int]:
        mapping = resolve_mapping(file.columns, FieldOptions(), has_rows=file.has_rows)
        bodies = 0
        with RejectFile(file) as rejects:
            for chunk in read_chunks(file, mapping):
                rejects.write(chunk.refused)
                bodies += len(chunk.bodies)
        file.close()
        return rejects, bodies

    first, accepted = refuse_into(make_file(tmp_path, name, data))
    assert (first.count, accepted) == (2, 1)
    assert first.path is not None
    mended = first.path.read_bytes().replace(b"bad", b"+447911123457")
    mended = mended.replace(b"[]", b'{"phone":"+447911123458","text":"x"}')
    first.path.write_bytes(mended)
    second, accepted = refuse_into(open_input(str(first.path)))
    assert (second.count, accepted) == (0, 2)
