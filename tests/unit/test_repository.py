"""What holds for the checkout as a whole: its shape, its files, its documents' links."""

import ast
import os
import re
import subprocess
import tomllib
from pathlib import Path
from urllib.parse import urlsplit

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("actors", "cluster", "pipeline")
FILE_BYTES_MAX = 1024 * 1024
# A tenth more may be one subject still.
LINES_MAX = 440
LONGER = {
    # The rules of a lane's owner lean on each other; they are read together or not at all.
    "pipeline/lane/lane.py": 620,
}


def _tracked() -> list[Path]:
    """Return every file that git knows or would know; outside of git there is nothing to judge."""
    try:
        listed = subprocess.run(
            ("git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"),
            cwd=ROOT,
            check=True,
            capture_output=True,
        ).stdout.decode()
    except (OSError, subprocess.CalledProcessError):
        return []
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


TRACKED = _tracked()
TEXTS = {
    file: file.read_text(encoding="utf-8") for file in TRACKED if b"\0" not in file.read_bytes()
}
PYTHON = [file for file in TRACKED if file.suffix == ".py"]
PAGES = [file for file in TRACKED if file.suffix == ".md"]


def _name(file: Path) -> str:
    return str(file.relative_to(ROOT))


def test_there_is_something_to_judge() -> None:
    assert len(TRACKED) > 50


@pytest.mark.parametrize(
    "name",
    [
        *("actors", "pipeline", "cluster", "tests", "ray_config.yaml", "pyproject.toml"),
        *("benchmarks", "docs", "tools", "Makefile", "README.md", "CHANGELOG.md"),
        *("CONTRIBUTING.md", "LICENSE", "requirements.lock", ".ci/run", "docs/architecture.md"),
        *("docs/glossary.md", "docs/lifecycle.md", "docs/operating/settings.md"),
    ],
)
def test_what_belongs_at_its_place_is_there(name: str) -> None:
    assert (ROOT / name).exists()


@pytest.mark.parametrize("name", [".ci/run", "tools/set_up.sh"])
def test_scripts_can_be_run(name: str) -> None:
    assert os.access(ROOT / name, os.X_OK)


def test_every_folder_of_code_is_a_package_that_tells_what_it_is_for() -> None:
    folders = {file.parent for file in PYTHON if file.relative_to(ROOT).parts[0] in PACKAGES}
    silent = [
        _name(folder)
        for folder in sorted(folders)
        if not (folder / "__init__.py").exists()
        or not ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8")))
    ]
    assert not silent


def test_no_file_is_large() -> None:
    assert not [_name(file) for file in TRACKED if file.stat().st_size > FILE_BYTES_MAX]


def test_no_module_outgrows_its_subject() -> None:
    lines = {
        _name(file): TEXTS[file].count("\n")
        for file in PYTHON
        # A table of cases may be as long as it needs.
        if file.relative_to(ROOT).parts[0] != "tests"
    }
    assert not {name: count for name, count in lines.items() if count > LONGER.get(name, LINES_MAX)}


@pytest.mark.parametrize(
    ("what", "pattern"),
    [
        # Paths of one machine: a home, a work folder, a folder for builds.
        ("an absolute path", r"(?<![\w.~*}/-])/(?:home|root|work|Users|mnt|srv)/\w"),
        # Where packages are fetched from is the installer's configuration.
        (
            "a package registry's host",
            r"(?i)\b(?:pypi\.org|pythonhosted\.org|index\.crates\.io|registry\.npmjs\.org"
            r"|proxy\.golang\.org|deb\.debian\.org|repo\.maven)",
        ),
        ("an option that names an index", r"--(?:extra-)?index-url[ =]\S*//"),
    ],
)
def test_no_file_names(what: str, pattern: str) -> None:
    found = {
        _name(file): match[0]
        for file, text in TEXTS.items()
        if file != Path(__file__).resolve() and (match := re.search(pattern, text))
    }
    assert not found, what


def test_the_environment_is_read_in_one_place_and_prepared_for_ray_in_the_same_folder() -> None:
    readers = [
        _name(file)
        for file in PYTHON
        if file.relative_to(ROOT).parts[0] in PACKAGES
        and re.search(r"\bos\.(?:environ|getenv)\b", TEXTS[file])
        and not file.is_relative_to(ROOT / "cluster" / "runtime")
    ]
    assert not readers


def test_every_link_of_the_documents_leads_somewhere() -> None:
    broken = []
    for page in PAGES:
        for target in re.findall(r"\]\(([^)\s]+)\)", TEXTS[page]):
            url = urlsplit(target)
            if url.scheme:
                continue
            linked = (page.parent / url.path).resolve() if url.path else page
            if not linked.exists() or not linked.is_relative_to(ROOT):
                broken.append(f"{_name(page)}: {target}")
            elif url.fragment and url.fragment not in _anchors(linked):
                broken.append(f"{_name(page)}: {target} has no such heading")
    assert not broken


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {
        re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings
    }


def test_every_make_target_that_the_documents_name_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", TEXTS[ROOT / "Makefile"], re.MULTILINE))
    named = {
        (_name(page), target)
        for page in PAGES
        for target in re.findall(r"(?:^|`)make ([a-z-]+)", TEXTS[page], re.MULTILINE)
    }
    assert {target for _, target in named} >= {"run", "test", "check"}
    assert not {(page, target) for page, target in named if target not in targets}


def test_the_lock_holds_every_package_with_its_hashes_and_fits_the_ranges() -> None:
    lock = TEXTS[ROOT / "requirements.lock"]
    locked: dict[str, list[str]] = {}
    for block in re.split(r"\n(?=[a-z0-9])", lock):
        if match := re.match(r"([a-z0-9._-]+)==(\S+)", block):
            assert "--hash=sha256:" in block, match[1]
            locked.setdefault(match[1], []).append(match[2])
    project = tomllib.loads(TEXTS[ROOT / "pyproject.toml"])
    asked = [
        *project["project"]["dependencies"],
        *project["dependency-groups"]["dev"],
        *project["build-system"]["requires"],
    ]
    for requirement in asked:
        match = re.match(
            r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?(?:>=([0-9.]+))?(?:,<[0-9.]+)?$", requirement
        )
        assert match, requirement
        least = _version(match[2] or "0")
        assert locked.get(match[1].lower()), f"{match[1]} is not locked: run `make lock`"
        assert all(_version(version) >= least for version in locked[match[1].lower()]), requirement


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"[0-9]+", text))
