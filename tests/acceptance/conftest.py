"""One platform for all that is sent in these tests, as `shardpost up` starts it."""

from collections.abc import Iterator

import pytest

from tests.support.office import Office
from tests.support.platform_process import PlatformProcess


@pytest.fixture(scope="session")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    data = tmp_path_factory.mktemp("office") / "data"
    with PlatformProcess(data, {"SHARDPOST_DASHBOARD": "false"}) as platform:
        yield Office(data)
        platform.stop()
    # Whatever was tried in between, what was accepted went out once and stands in the books.
    Office(data).check()
