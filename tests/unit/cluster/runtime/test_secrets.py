import os
from pathlib import Path

import pytest

from cluster.runtime.secrets import read_secret
from pipeline.errors import SettingInvalid


def test_a_secret_is_read_from_the_environment_or_a_file_without_the_space_around_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOOK_SECRET", " one ")
    file = tmp_path / "secret"
    file.write_text("two\n", encoding="utf-8")
    assert read_secret("env:HOOK_SECRET") == "one"
    assert read_secret(f"file:{file}") == "two"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        (
            "env:HOOK_SECRET_NOT_SET",
            "secret env:HOOK_SECRET_NOT_SET: set the variable HOOK_SECRET_NOT_SET",
        ),
        ("file:nowhere/secret", "secret file:nowhere/secret: No such file"),
        ("whsec_abcdef", "a secret is named env:VARIABLE or file:PATH"),
        ("env:TWO_LINES", "secret env:TWO_LINES: should be one line"),
    ],
)
def test_what_cannot_be_read_is_told_by_its_name(
    name: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TWO_LINES", "hidden\nhidden")
    monkeypatch.delenv("HOOK_SECRET_NOT_SET", raising=False)
    with pytest.raises(SettingInvalid) as caught:
        read_secret(name)
    assert str(caught.value).startswith(told)
    assert "hidden" not in str(caught.value)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_bytes(os.fsencode("a") + b"\xff")
    with pytest.raises(SettingInvalid, match="should be UTF-8"):
        read_secret(f"file:{file}")
