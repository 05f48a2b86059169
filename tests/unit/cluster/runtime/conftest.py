import os
from pathlib import Path

import pytest

from tests.support.settings_place import Place


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    for name in os.environ:
        if name.upper().startswith("SHARDPOST_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return Place(tmp_path, monkeypatch)
