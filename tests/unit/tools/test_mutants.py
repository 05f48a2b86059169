from collections.abc import Sequence
from pathlib import Path

import pytest

from tools import mutants
from tools.mutants import (
    FAST_TESTS,
    ROOT,
    SERVER_TABLE,
    SERVER_TESTS,
    TABLE,
    Mutant,
    TableInvalid,
    TreeCopy,
    Verdict,
    mutate,
    read_table,
    try_mutant,
)

SOURCE = "def twice(number):\n    return number * 2\n"


def mutant(old: str = "number * 2", new: str = "number * 3", file: str = "code.py") -> Mutant:
    return Mutant(name="a name", promise="a promise", file=file, old=old, new=new)


class FakeTree(TreeCopy):
    """A tree whose tests end as they are told to, and that keeps what they saw."""

    def __init__(self, root: Path, code: int | None, output: str = "") -> None:
        super().__init__(root)
        (root / "code.py").write_text(SOURCE)
        self._answer = (code, output)
        self.seen = ""
        self.asked: list[list[str]] = []

    def run_tests(
        self, tests: Sequence[str], *, time_limit_s: float, processes: int = 0
    ) -> tuple[int | None, str]:
        self.asked.append(list(tests))
        self.seen = (self.root / "code.py").read_text()
        return self._answer


TABLES = [
    *read_table(TABLE.read_text(encoding="utf-8")),
    *read_table(SERVER_TABLE.read_text(encoding="utf-8"), among=SERVER_TESTS),
]


@pytest.mark.parametrize("one", TABLES, ids=lambda m: m.name)
def test_every_mutant_of_the_tables_applies_to_the_code_as_it_is(one: Mutant) -> None:
    mutate(one, (ROOT / one.file).read_text(encoding="utf-8"))
    assert all((ROOT / test.partition("::")[0]).exists() for test in one.tests)


def test_a_break_is_made_and_taken_back(tmp_path: Path) -> None:
    tree = FakeTree(tmp_path, 1, "FAILED tests/unit/test_x.py::test_it - assert 4 == 6\n")
    found = try_mutant(tree, mutant(), time_limit_s=1)
    assert found.verdict is Verdict.NOTICED
    assert found.detail == "tests/unit/test_x.py::test_it"
    assert "number * 3" in tree.seen
    assert (tmp_path / "code.py").read_text() == SOURCE


@pytest.mark.parametrize(
    ("code", "verdict"),
    [
        pytest.param(0, Verdict.UNNOTICED, id="green"),
        pytest.param(1, Verdict.NOTICED, id="red"),
        pytest.param(2, Verdict.NOTICED, id="cannot be imported"),
        pytest.param(4, Verdict.STALE, id="no such tests"),
        pytest.param(5, Verdict.STALE, id="no tests in them"),
        pytest.param(-9, Verdict.STALE, id="killed"),
        pytest.param(None, Verdict.HUNG, id="does not end"),
    ],
)
def test_only_red_tests_notice(tmp_path: Path, code: int | None, verdict: Verdict) -> None:
    assert try_mutant(FakeTree(tmp_path, code), mutant(), time_limit_s=1).verdict is verdict


@pytest.mark.parametrize(
    ("one", "told"),
    [
        pytest.param(mutant(old="number * 4"), "stands 0 times", id="is gone"),
        pytest.param(mutant(old="number"), "stands 2 times", id="is ambiguous"),
        pytest.param(mutant(new="number * 2"), "is its old one", id="changes nothing"),
        pytest.param(mutant(new="number *"), "is no Python", id="breaks the syntax"),
        pytest.param(mutant(file="gone.py"), "there is no gone.py", id="has no file"),
    ],
)
def test_a_break_that_cannot_be_made_is_stale(tmp_path: Path, one: Mutant, told: str) -> None:
    found = try_mutant(FakeTree(tmp_path, 1), one, time_limit_s=1)
    assert found.verdict is Verdict.STALE
    assert told in found.detail


@pytest.mark.parametrize(
    ("line", "told"),
    [
        pytest.param("promis = 'x'", "promis", id="unknown key"),
        pytest.param(
            "tests = ['tests/chaos']", "tests/chaos is not in tests/unit", id="slow tests"
        ),
    ],
)
def test_a_table_that_says_something_else_is_refused(line: str, told: str) -> None:
    entry = "name = 'n'\npromise = 'p'\nfile = 'f'\nold = 'o'\nnew = 'w'\n"
    with pytest.raises(TableInvalid, match=told):
        read_table(f"[[mutant]]\n{entry}{line}\n")


def test_what_is_no_python_is_not_compiled() -> None:
    assert mutate(mutant(file="code.cql"), SOURCE) == SOURCE.replace("2", "3")


def test_two_mutants_have_two_names() -> None:
    entry = "[[mutant]]\nname = 'n'\npromise = 'p'\nfile = 'f'\nold = 'o'\nnew = 'w'\n"
    with pytest.raises(TableInvalid, match="'n'"):
        read_table(entry * 2)


def test_a_path_inside_another_is_run_once() -> None:
    whole = mutant()
    part = Mutant(name="n", promise="p", file="f", old="o", new="w", tests=("tests/unit/tools",))
    assert mutants._union([whole, part]) == sorted(FAST_TESTS)


def test_the_test_that_noticed_it_last_is_asked_first(tmp_path: Path) -> None:
    tree = FakeTree(tmp_path, 1, "FAILED tests/unit/test_x.py::test_it\n")
    found = try_mutant(tree, mutant(), time_limit_s=1, hint="tests/unit/test_x.py::test_it")
    assert found.verdict is Verdict.NOTICED
    assert tree.asked == [["tests/unit/test_x.py::test_it"]]


def test_where_that_test_is_green_all_others_are_asked(tmp_path: Path) -> None:
    tree = FakeTree(tmp_path, 0)
    found = try_mutant(tree, mutant(), time_limit_s=1, hint="tests/unit/test_x.py::test_it")
    assert found.verdict is Verdict.UNNOTICED
    assert tree.asked == [["tests/unit/test_x.py::test_it"], list(FAST_TESTS)]


def test_the_module_that_mirrors_the_broken_one_is_known(tmp_path: Path) -> None:
    tree = FakeTree(tmp_path, 1)
    (tmp_path / "tests/unit/pipeline").mkdir(parents=True)
    (tmp_path / "tests/unit/pipeline/test_code.py").touch()
    assert tree.mirror_of(mutant(file="pipeline/code.py")) == "tests/unit/pipeline/test_code.py"
    assert tree.mirror_of(mutant(file="pipeline/other.py")) is None
    elsewhere = Mutant(
        name="n", promise="p", file="pipeline/code.py", old="o", new="w", tests=("tests/contract",)
    )
    assert tree.mirror_of(elsewhere) is None
