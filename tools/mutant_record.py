"""What earlier runs of the mutants found, so that a run that was stopped goes on where it was.

A finding counts only for the very break, code and tests that it was made with: everything that a
test could read is digested, except the tables of mutants themselves.  Only what was noticed is
remembered; what went unnoticed is tried again.  Of a tree that changed since, the test that noticed
a break is still a good one to begin with.
"""

import json
import os
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

# Everything else may change without making a finding old.
_READ_BY_TESTS: Final = ("actors/", "cluster/", "pipeline/", "tests/", "pyproject.toml")
_NOT_READ: Final = ("tests/mutants.toml", "tests/mutants-cassandra.toml")


def digest_of(root: Path, names: Iterable[str]) -> str:
    """Return what stands for the code and the tests among these files."""
    digest = blake2b(digest_size=16)
    for name in sorted(names):
        if name.startswith(_READ_BY_TESTS) and name not in _NOT_READ:
            content = (root / name).read_bytes()
            digest.update(f"{name}\0{len(content)}\0".encode())
            digest.update(content)
    return digest.hexdigest()


class MutantRecord:
    """A file of JSON lines, one for each break that was noticed."""

    def __init__(self, path: Path, tree: str) -> None:
        self._path = path
        self._tree = tree
        self._noticed: dict[str, dict[str, Any]] = {}
        self._hints: dict[str, str] = {}
        if path.is_file():
            for line in path.read_text(encoding="utf-8").splitlines():
                try:
                    told = json.loads(line)
                except ValueError:
                    continue  # the last line of a run that was killed
                self._hints[told["mutant"]] = told["by"]
                if told["tree"] == tree:
                    self._noticed[told["mutant"]] = told

    def noticed_by(self, mutant: Sequence[str]) -> str | None:
        """Return the test that noticed this break of this tree, or None if it is to be tried."""
        told = self._noticed.get(_key(mutant))
        return None if told is None else str(told["by"])

    def hint(self, mutant: Sequence[str]) -> str | None:
        """Return the test that noticed this break when it was tried last, in whatever tree."""
        return self._hints.get(_key(mutant)) or None

    def add(self, mutant: Sequence[str], *, by: str, seconds: float) -> None:
        """Remember that a break was noticed; it is on disk when this returns."""
        key = _key(mutant)
        told = {"tree": self._tree, "mutant": key, "by": by, "seconds": round(seconds, 1)}
        self._noticed[key] = told
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(told) + "\n")
            file.flush()
            os.fsync(file.fileno())


def _key(mutant: Sequence[str]) -> str:
    return blake2b("\0".join(mutant).encode(), digest_size=16).hexdigest()
