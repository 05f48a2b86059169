from pathlib import Path

from tools.mutant_record import MutantRecord, digest_of

ONE = ("code.py", "number * 2", "number * 3", "tests/unit")
OTHER = ("code.py", "number * 2", "number * 4", "tests/unit")


def test_what_was_noticed_is_remembered_by_the_next_run(tmp_path: Path) -> None:
    path = tmp_path / "record"
    MutantRecord(path, "tree").add(ONE, by="tests/unit/test_x.py::test_it", seconds=2.0)
    again = MutantRecord(path, "tree")
    assert again.noticed_by(ONE) == "tests/unit/test_x.py::test_it"
    assert again.noticed_by(OTHER) is None


def test_of_another_tree_only_the_hint_is_left(tmp_path: Path) -> None:
    path = tmp_path / "record"
    MutantRecord(path, "tree").add(ONE, by="tests/unit/test_x.py::test_it", seconds=2.0)
    again = MutantRecord(path, "another tree")
    assert again.noticed_by(ONE) is None
    assert again.hint(ONE) == "tests/unit/test_x.py::test_it"


def test_the_line_of_a_run_that_was_killed_is_no_finding(tmp_path: Path) -> None:
    path = tmp_path / "record"
    MutantRecord(path, "tree").add(ONE, by="tests/unit/test_x.py::test_it", seconds=2.0)
    path.write_text(path.read_text()[:-20])
    assert MutantRecord(path, "tree").noticed_by(ONE) is None


def test_a_tree_is_another_one_when_code_or_tests_change_and_only_then(tmp_path: Path) -> None:
    names = ["actors/a.py", "tests/unit/test_a.py", "tests/mutants.toml", "docs/a.md"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("text")
    before = digest_of(tmp_path, names)
    for name in ("tests/mutants.toml", "docs/a.md"):
        (tmp_path / name).write_text("another text")
    assert digest_of(tmp_path, names) == before
    for name in ("actors/a.py", "tests/unit/test_a.py"):
        (tmp_path / name).write_text("another text")
        assert digest_of(tmp_path, names) != before
        (tmp_path / name).write_text("text")
