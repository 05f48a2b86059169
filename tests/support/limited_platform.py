"""A platform with a limited connector on a Ray of its own; prints what its limiter did, as JSON.

A program of its own: Ray reads its environment once, when it is imported.  `python -m` with the
data folder.
"""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

from actors.cli.open_folder import open_folder
from actors.config import NAMESPACE, PlatformConfig
from actors.permits import PermitClient
from cluster.runtime.clock import SystemClock
from cluster.runtime.connector_settings import FileConnectorSettings
from cluster.runtime.ray_environment import prepare_ray_environment
from cluster.runtime.settings import LocalSettings, Settings
from pipeline.route.lease import PermitDesk

_LOOKS_MAX = 600
_KEY = "connector:file"


async def _watch(platform: PlatformConfig) -> dict[str, Any]:
    import ray

    from actors.handles import create_registry, find_limiter

    registry = create_registry(platform)

    async def limiter_other_than(former: str | None) -> str:
        for _ in range(_LOOKS_MAX):
            status = await registry.status()
            name: str | None = status["running"].get("limiter|limiter")
            if status["is_complete"] and name not in (None, former):
                return str(name)
            await asyncio.sleep(0.1)
        raise AssertionError("no limiter")

    first = await limiter_other_than(None)
    clock = SystemClock()
    client = PermitClient(
        PermitDesk("s0", [_KEY]), find_limiter=find_limiter, clock=clock, on_grants=lambda: None
    )
    await client.start()

    async def spend(count: int) -> tuple[int, float]:
        """Take so many permits or a few more; return how many, and in how many seconds."""
        spent, began = 0, clock.now()
        while spent < count:
            client.desk.want("lane", "normal-1", {_KEY: 1_000})
            spent += client.desk.take("lane", _KEY, 1_000, clock.now())
            await asyncio.sleep(0.02)
        return spent, (clock.now() - began) / 1_000_000

    before = await spend(200)
    ray.kill(ray.get_actor(first, namespace=NAMESPACE))
    second = await limiter_other_than(first)
    after = await spend(200)
    told = (await registry.status())["wanted"]
    await client.stop()
    await registry.drain()
    is_gone = await find_limiter() is None
    return {
        "wanted": told,
        "permits_before": before,
        "permits_after": after,
        "is_another": second != first,
        "is_gone": is_gone,
    }


def main(data: Path) -> None:
    settings = Settings(
        data=data,
        local=LocalSettings(nodes=1, shards=1),
        connectors={"file": FileConnectorSettings(rate=100)},
    )
    open_folder(settings)
    prepare_ray_environment(data, niceness=0)
    from cluster.runtime.embedded_ray import start_embedded_ray, stop_ray

    start_embedded_ray(namespace=NAMESPACE, labels={}, dashboard_port=None)
    try:
        platform = PlatformConfig(
            platform_id=os.urandom(6), data_folder=str(data), settings=settings
        )
        print(json.dumps(asyncio.run(_watch(platform))))  # noqa: T201
    finally:
        stop_ray()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
