"""A platform of its own for a measurement, and the way to join it."""

import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from cluster.local.platform_lock import read_platform
from cluster.runtime.ray_environment import prepare_ray_environment

SHARDPOST: Final = [str(Path(sys.executable).with_name("shardpost"))]
_END_TIMEOUT_S: Final = 120


@contextmanager
def running_platform(data: Path, *, env: Mapping[str, str] | None = None) -> Iterator[None]:
    """Run `shardpost up` on a folder until the end, however that comes."""
    platform = subprocess.Popen(
        [*SHARDPOST, "up", "--json", "--data", str(data)], stdout=subprocess.PIPE, env=env
    )
    try:
        assert platform.stdout is not None
        assert platform.stdout.readline(), "the platform did not start"
        yield
    finally:
        platform.send_signal(signal.SIGINT)
        platform.communicate(timeout=_END_TIMEOUT_S)


@contextmanager
def joined(data: Path) -> Iterator[None]:
    """Join the platform's cluster; left before the platform ends, else Ray hides what went wrong.

    Once in a process, and nothing of Ray may have been imported before.
    """
    prepare_ray_environment(data, niceness=0)
    from cluster.runtime.embedded_ray import join_embedded_ray, stop_ray

    address = read_platform(data)
    join_embedded_ray(address=address.ray_address, namespace=address.namespace)
    try:
        yield
    finally:
        stop_ray()
