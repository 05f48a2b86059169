from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cluster.local.writer import Writer
from tests.support.fake_clock import FakeClock
from tests.support.local_data import LocalData
from tests.support.swept import Swept


@pytest.fixture
async def swept(tmp_path: Path) -> AsyncIterator[Swept]:
    data = LocalData(tmp_path / "data", clock=FakeClock())
    yield Swept(data, await data.open())
    await data.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where a core's file may be made."""
    return tmp_path / "n1-0.db"


@pytest.fixture
async def file(path: Path) -> AsyncIterator[Writer]:
    """Return the writer of that file."""
    file = Writer(path, clock=FakeClock())
    yield file
    await file.close()
