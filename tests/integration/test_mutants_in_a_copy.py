"""The harness of mutants on a small tree of its own, with a real pytest."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.mutants import Mutant, TreeCopy, Verdict, try_mutant

CODE = "def twice(number):\n    unseen = 1\n    return number * 2\n"
TEST = "from pipeline import twice\n\ndef test_twice():\n    assert twice(2) == 4\n"


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[TreeCopy]:
    for package in ("actors", "cluster", "pipeline"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text(CODE)
    (tmp_path / "tests" / "unit").mkdir(parents=True)
    (tmp_path / "tests" / "unit" / "test_code.py").write_text(TEST)
    (tmp_path / ".gitignore").write_text("ignored\n")
    (tmp_path / "ignored").write_text("")
    subprocess.run(("git", "init", "-q"), cwd=tmp_path, check=True)
    with TreeCopy.of(tmp_path) as copy:
        yield copy


def _break(tree: TreeCopy, old: str, new: str) -> Verdict:
    mutant = Mutant(name="n", promise="p", file="pipeline/__init__.py", old=old, new=new)
    return try_mutant(tree, mutant, time_limit_s=60).verdict


def test_the_copys_own_code_is_broken_and_tested(tree: TreeCopy) -> None:
    tree.check_imports()
    assert not (tree.root / "ignored").exists()
    assert _break(tree, "number * 2", "number * 3") is Verdict.NOTICED
    assert _break(tree, "unseen = 1", "unseen = 2") is Verdict.UNNOTICED
    # The same length, within the same second, as what was noticed before.
    assert _break(tree, "number * 2", "2 * number") is Verdict.UNNOTICED
    assert tree.run_tests(["tests/unit"], time_limit_s=60)[0] == 0


def test_a_break_that_never_ends_is_ended(tree: TreeCopy) -> None:
    mutant = Mutant(
        name="n",
        promise="p",
        file="pipeline/__init__.py",
        old="    return number * 2",
        new="    while True: pass",
    )
    assert try_mutant(tree, mutant, time_limit_s=3).verdict is Verdict.HUNG
