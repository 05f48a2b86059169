"""Breaks the code on purpose, one line at a time, and expects the tests to notice.

    python -m tools.mutants [--server] [--only TEXT] [--jobs N] [--record FILE]

`tests/mutants.toml` names the breaks that the fast tests notice, `tests/mutants-cassandra.toml`
(with `--server`) those that take a real server.  Each is made in a temporary copy of the tree,
never in the checkout; the tests run there and must turn red.  A break that goes unnoticed is a
promise that no test holds; a break whose old text is no longer there exactly once says nothing any
more.  Both fail the run.  A record lets a run that was stopped go on where it was
(`tools/mutant_record.py`).
"""

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from queue import Empty, SimpleQueue
from shutil import copy2
from threading import Lock
from typing import Any, Final

from tools.mutant_record import MutantRecord, digest_of

ROOT: Final = Path(__file__).resolve().parents[1]
TABLE: Final = ROOT / "tests" / "mutants.toml"
SERVER_TABLE: Final = ROOT / "tests" / "mutants-cassandra.toml"
FAST_TESTS: Final = ("tests/unit", "tests/property", "tests/contract", "tests/simulation")
SERVER_TESTS: Final = ("tests/cassandra",)
# Some breaks show only where several faults meet.
SEEDS: Final = "0:+400"
# These look at the text of the tree and would notice any break, whatever it means.
TEXT_TESTS: Final = ("tests/unit/tools", "tests/unit/test_repository.py")

_PACKAGES: Final = ("actors", "cluster", "pipeline")
# Tests that fail, and modules that cannot be imported any more; nothing else of pytest's is red.
_RED: Final = (1, 2)
_FAILED_LINE: Final = re.compile(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", re.MULTILINE)


class TableInvalid(Exception):
    """The table of mutants must be mended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """One break: `old` stands exactly once in `file` and becomes `new`."""

    name: str
    promise: str  # what is no longer kept
    file: str
    old: str
    new: str
    tests: tuple[str, ...] = FAST_TESTS

    @property
    def identity(self) -> tuple[str, ...]:
        """What makes it another break: where it is, what it changes, who must notice."""
        return (self.file, self.old, self.new, *self.tests)


class Verdict(StrEnum):
    """What the tests made of a mutant."""

    NOTICED = "noticed"
    HUNG = "hung"  # noticed too: no green within the time limit
    UNNOTICED = "UNNOTICED"
    STALE = "STALE"  # it does not apply to the code as it is


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A mutant's verdict, and the test that noticed it or the reason that it could not be tried."""

    mutant: Mutant
    verdict: Verdict
    detail: str
    seconds: float


def read_table(text: str, *, among: tuple[str, ...] = FAST_TESTS) -> list[Mutant]:
    """Parse a table whose mutants these tests notice; raises `TableInvalid`."""
    mutants: list[Mutant] = []
    for entry in tomllib.loads(text).get("mutant", []):
        mutants.append(_parse(entry, among))
    names = [mutant.name for mutant in mutants]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise TableInvalid(f"two mutants are called {twice[0]!r}")
    return mutants


def _parse(entry: dict[str, Any], among: tuple[str, ...]) -> Mutant:
    tests = tuple(entry.pop("tests", among))
    try:
        mutant = Mutant(**entry, tests=tests)
    except TypeError as error:
        raise TableInvalid(f"{entry.get('name', entry)}: {error}") from None
    for test in tests:
        if not test.startswith(among):
            raise TableInvalid(f"{mutant.name}: {test} is not in {', '.join(among)}")
    return mutant


def mutate(mutant: Mutant, source: str) -> str:
    """Return the source with the break in it; raises `TableInvalid` if it cannot be made."""
    if (count := source.count(mutant.old)) != 1:
        raise TableInvalid(f"its old text stands {count} times in {mutant.file}, not once")
    mutated = source.replace(mutant.old, mutant.new)
    if mutated == source:
        raise TableInvalid("its new text is its old one")
    if mutant.file.endswith(".py"):
        try:
            compile(mutated, mutant.file, "exec")
        except SyntaxError as error:
            raise TableInvalid(f"with it {mutant.file} is no Python: {error.msg}") from None
    return mutated


def _names(checkout: Path) -> list[str]:
    listed = subprocess.run(
        ("git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"),
        cwd=checkout,
        check=True,
        capture_output=True,
    ).stdout.decode()
    # One may be deleted and not yet committed.
    return [name for name in listed.split("\0") if name and (checkout / name).is_file()]


class TreeCopy:
    """A copy of the checkout, in which breaks are made and taken back."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @classmethod
    @contextmanager
    def of(cls, checkout: Path) -> Iterator["TreeCopy"]:
        """Copy what git knows or would know, as it is now; ends with the copy removed."""
        with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
            root = Path(folder).resolve()
            for name in _names(checkout):
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                copy2(checkout / name, root / name)
            yield cls(root)

    @contextmanager
    def broken_by(self, mutant: Mutant) -> Iterator[None]:
        """Make the break, and take it back at the end; raises `TableInvalid`."""
        file = self.root / mutant.file
        if not file.is_file():
            raise TableInvalid(f"there is no {mutant.file}")
        source = file.read_text(encoding="utf-8")
        file.write_text(mutate(mutant, source), encoding="utf-8")
        try:
            yield
        finally:
            file.write_text(source, encoding="utf-8")

    def run_tests(
        self, tests: Sequence[str], *, time_limit_s: float, processes: int = 0
    ) -> tuple[int | None, str]:
        """Return pytest's exit code and output; the code is None past the time limit."""
        ignored = [f"--ignore={path}" for path in TEXT_TESTS]
        existing = [path for path in tests if (self.root / path.partition("::")[0]).exists()]
        if processes:
            ignored += ["-n", str(processes), "--dist", "worksteal"]
        return self._run(
            ("-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *ignored, *existing),
            time_limit_s=time_limit_s,
        )

    def mirror_of(self, mutant: Mutant) -> str | None:
        """Return the test module that mirrors the broken one, if it is among its tests."""
        folder, _, name = mutant.file.rpartition("/")
        mirror = f"tests/unit/{folder}/test_{name}"
        if (self.root / mirror).is_file() and mirror.startswith(mutant.tests):
            return mirror
        return None

    def check_imports(self) -> None:
        """Raise `TableInvalid` if code run here would import the checkout instead of the copy."""
        for package in _PACKAGES:
            _, told = self._run(
                ("-c", f"import {package}; print({package}.__file__)"), time_limit_s=60
            )
            if not Path(told.strip()).is_relative_to(self.root):
                raise TableInvalid(f"{package} is imported from {told.strip()}, not from the copy")

    def _run(self, arguments: Sequence[str], *, time_limit_s: float) -> tuple[int | None, str]:
        # No bytecode is written: two breaks of one length in one second would share it.
        environment = os.environ | {
            "PYTHONPATH": str(self.root),
            "PYTHONDONTWRITEBYTECODE": "1",
            "SHARDPOST_SIMULATION_SEEDS": SEEDS,
        }
        with subprocess.Popen(
            (sys.executable, *arguments),
            cwd=self.root,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        ) as process:
            try:
                output, _ = process.communicate(timeout=time_limit_s)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                output, _ = process.communicate()
                return None, output
            except BaseException:
                os.killpg(process.pid, signal.SIGKILL)
                raise
        return process.returncode, output


def try_mutant(
    tree: TreeCopy, mutant: Mutant, *, time_limit_s: float, hint: str | None = None
) -> Finding:
    """Make the break, run the tests, take it back; the hinted test alone first, if there is one."""
    began = time.monotonic()

    def finding(verdict: Verdict, detail: str) -> Finding:
        return Finding(
            mutant=mutant, verdict=verdict, detail=detail, seconds=time.monotonic() - began
        )

    try:
        with tree.broken_by(mutant):
            code, output = None, ""
            if hint is not None:
                code, output = tree.run_tests([hint], time_limit_s=time_limit_s)
            if code not in _RED:
                code, output = tree.run_tests(mutant.tests, time_limit_s=time_limit_s)
    except TableInvalid as error:
        return finding(Verdict.STALE, str(error))
    if code is None:
        return finding(Verdict.HUNG, f"no end within {time_limit_s:.0f} s")
    if code in _RED:
        noticed_by = _FAILED_LINE.search(output)
        return finding(Verdict.NOTICED, noticed_by[1] if noticed_by else "")
    if code == 0:
        return finding(Verdict.UNNOTICED, mutant.promise)
    return finding(Verdict.STALE, f"pytest ended with {code}: are its tests still there?")


def main(arguments: Sequence[str] | None = None) -> int:
    """Try the table's mutants; return 0 if the tests noticed every one."""
    parser = argparse.ArgumentParser(prog="python -m tools.mutants", description=__doc__)
    parser.add_argument(
        "--server", action="store_true", help="try those that only a real server shows"
    )
    parser.add_argument("--only", default="", help="try those whose name or file holds this text")
    parser.add_argument("--jobs", type=int, default=2, help="how many side by side (default 2)")
    parser.add_argument("--record", type=Path, help="remember here what was noticed, and go on")
    parser.add_argument(
        "--minutes", type=float, default=float("inf"), help="begin none later than after these"
    )
    parser.add_argument("--time-limit", type=float, default=300, help="seconds a mutant (300)")
    options = parser.parse_args(arguments)
    table, among = (SERVER_TABLE, SERVER_TESTS) if options.server else (TABLE, FAST_TESTS)
    mutants = [
        mutant
        for mutant in read_table(table.read_text(encoding="utf-8"), among=among)
        if options.only in mutant.name or options.only in mutant.file
    ]
    if not mutants:
        print("no such mutant")
        return 1
    began = time.monotonic()
    record: MutantRecord | None = None
    if options.record is not None:
        record = MutantRecord(options.record, digest_of(ROOT, _names(ROOT)))
    everything = len(mutants)
    union = _union(mutants)
    if record is not None:
        mutants = [mutant for mutant in mutants if record.noticed_by(mutant.identity) is None]
        if not mutants:
            print(f"{everything} passed, 0 failed; all were remembered")
            return 0
    if record is None or record.noticed_by(("green", *union)) is None:
        if not _is_green(union, time_limit_s=4 * options.time_limit, processes=options.jobs):
            return 1
        if record is not None:
            record.add(("green", *union), by="", seconds=time.monotonic() - began)
    findings = list(
        _try_all(
            mutants,
            jobs=options.jobs,
            time_limit_s=options.time_limit,
            record=record,
            until=began + 60 * options.minutes,
        )
    )
    bad = [found for found in findings if found.verdict in (Verdict.UNNOTICED, Verdict.STALE)]
    told = f", {everything - len(mutants)} of them remembered" if record is not None else ""
    seconds = time.monotonic() - began
    untried = len(mutants) - len(findings)
    passed = everything - untried - len(bad)
    print(f"{passed} passed{told}, {len(bad)} failed, {untried} not tried, {seconds:.0f} s")
    return 1 if bad or untried else 0


def _is_green(tests: Sequence[str], *, time_limit_s: float, processes: int) -> bool:
    with TreeCopy.of(ROOT) as tree:
        tree.check_imports()
        began = time.monotonic()
        code, output = tree.run_tests(tests, time_limit_s=time_limit_s, processes=processes)
    if code != 0:
        print(output)
        print("the tests are red without any mutant: mend them first")
        return False
    print(f"green without a mutant, {time.monotonic() - began:.0f} s", flush=True)
    return True


def _union(mutants: Sequence[Mutant]) -> list[str]:
    """Return every test path that a mutant names, less those inside another one."""
    paths = sorted({test for mutant in mutants for test in mutant.tests})
    return [
        path
        for path in paths
        if not any(
            path != other and path.startswith((f"{other}/", f"{other}::")) for other in paths
        )
    ]


def _try_all(
    mutants: Sequence[Mutant],
    *,
    jobs: int,
    time_limit_s: float,
    record: MutantRecord | None,
    until: float,
) -> Iterator[Finding]:
    waiting: SimpleQueue[Mutant] = SimpleQueue()
    for mutant in mutants:
        waiting.put(mutant)
    recording = Lock()

    def work() -> list[Finding]:
        findings: list[Finding] = []
        with TreeCopy.of(ROOT) as tree:
            while time.monotonic() < until:
                try:
                    mutant = waiting.get_nowait()
                except Empty:
                    break
                hint = record.hint(mutant.identity) if record is not None else None
                found = try_mutant(
                    tree, mutant, time_limit_s=time_limit_s, hint=hint or tree.mirror_of(mutant)
                )
                _print(found)
                if record is not None and found.verdict in (Verdict.NOTICED, Verdict.HUNG):
                    with recording:
                        by = found.detail if found.verdict is Verdict.NOTICED else ""
                        record.add(mutant.identity, by=by, seconds=found.seconds)
                findings.append(found)
            return findings

    with ThreadPoolExecutor(jobs) as threads:
        for done in as_completed([threads.submit(work) for _ in range(jobs)]):
            yield from done.result()


def _print(found: Finding) -> None:
    line = f"{found.verdict:<10} {found.seconds:5.1f} s  {found.mutant.name}: {found.detail}"
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
