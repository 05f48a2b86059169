"""`docs/operating/settings.md` says what the code does."""

import os
import re
import tomllib
from enum import Enum
from pathlib import Path, PurePath

import pytest

from cluster.runtime.setting_names import KnownSetting
from cluster.runtime.settings import KNOWN_SETTINGS, load_settings

PAGE = (Path(__file__).resolve().parents[4] / "docs" / "operating" / "settings.md").read_text(
    encoding="utf-8"
)
ROWS = dict(re.findall(r"^\| `([^`]+)` \|(?: `([^`]+)`)? \|", PAGE, re.MULTILINE))

EXAMPLES = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)


def _as_in_a_file(value: object) -> object:
    match value:
        case Enum():
            return value.value
        case PurePath():
            return str(value)
        case tuple():
            return list(value)
        case _:
            return value


def test_every_setting_is_on_the_page_and_nothing_else() -> None:
    assert sorted(ROWS) == sorted(setting.name for setting in KNOWN_SETTINGS)


@pytest.mark.parametrize("setting", KNOWN_SETTINGS, ids=lambda setting: setting.name)
def test_the_page_tells_the_default(setting: KnownSetting) -> None:
    told = ROWS[setting.name]
    default = tomllib.loads(f"it = {told}")["it"] if told else None
    assert default == _as_in_a_file(setting.default)


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_of_the_page_is_accepted(
    example: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("SHARDPOST_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    Path("shardpost.toml").write_text(example, encoding="utf-8")
    assert load_settings().connectors


def test_the_pages_first_example_is_accepted_in_both_forms(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    example = EXAMPLES[0]
    for name in [name for name in os.environ if name.startswith("SHARDPOST_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    Path("shardpost.toml").write_text(example, encoding="utf-8")
    by_file = load_settings()
    Path("shardpost.toml").write_text('[connectors.rest]\nkind = "file"', encoding="utf-8")
    for variable, value in re.findall(r"# (SHARDPOST_\w+)=(\S+)", example):
        monkeypatch.setenv(variable, value)
    assert load_settings() == by_file
    assert by_file.ingesters == 2
