"""Where settings are read from in tests."""

from pathlib import Path

import pytest

from cluster.runtime.settings import load_settings
from pipeline.errors import SettingInvalid

MAIL = """
[connectors.a]
kind = "smtp"
host = "mx.example"
from_address = "news@b.example"
"""
EMAIL = f"{MAIL}channels = ['email']"


class Place:
    """A working directory and an environment that hold nothing but what a test puts there."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self._patch = patch

    def file(self, text: str, name: str = "shardpost.toml") -> None:
        (self.folder / name).write_text(text, encoding="utf-8")

    def variable(self, name: str, value: str) -> None:
        self._patch.setenv(name, value)

    def refusal(self) -> str:
        with pytest.raises(SettingInvalid) as caught:
            load_settings()
        text = str(caught.value)
        assert "\n" not in text
        return text
