"""A platform over two raylets that stand for two machines; prints where its actors run, as JSON.

The ring has three nodes of one core each.  A program of its own: Ray reads its environment once,
when it is imported.  `python -m` with the data folder, and the machines that the nodes of the ring
are said to be on.
"""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

from actors.cli.open_folder import open_folder
from actors.config import MACHINE_LABEL, NAMESPACE, PlatformConfig
from cluster.runtime.ray_environment import prepare_ray_environment
from cluster.runtime.settings import LocalSettings, Settings

_LOOKS_MAX = 600


async def _places(platform: PlatformConfig) -> dict[str, Any]:
    import ray
    from ray._private.state import actors

    from actors.handles import create_registry

    registry = create_registry(platform)
    for _ in range(_LOOKS_MAX):
        status = await registry.status()
        if status["is_complete"]:
            break
        await asyncio.sleep(0.1)
    machine_of = {
        node["NodeID"]: node["Labels"].get(MACHINE_LABEL)
        for node in ray.nodes()  # type: ignore[no-untyped-call]
    }
    places = {
        actor["Name"].rpartition("|")[0]: machine_of[actor["Address"]["NodeID"]]
        for actor in actors().values()
        if actor["State"] == "ALIVE" and actor["Name"].startswith("scheduler")
    }
    await registry.drain()
    return {"is_complete": status["is_complete"], "places": places}


def _warnings(cluster: Any) -> list[str]:
    logs = Path(cluster.head_node.get_logs_dir_path())
    return [
        line
        for log in logs.glob("worker-*.err")
        for line in log.read_text().splitlines()
        if "warning" in line
    ]


def main(data: Path, machines: dict[str, str]) -> None:
    settings = Settings(data=data, local=LocalSettings(nodes=3, shards=1))
    open_folder(settings)
    prepare_ray_environment(data, niceness=0)
    import ray
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        for machine in ("m1", "m2"):
            cluster.add_node(num_cpus=1, labels={MACHINE_LABEL: machine})
        ray.init(address=cluster.address, namespace=NAMESPACE, log_to_driver=False)
        platform = PlatformConfig(
            platform_id=os.urandom(6),
            data_folder=str(data),
            settings=settings,
            machines=machines,
        )
        told = asyncio.run(_places(platform)) | {"warnings": _warnings(cluster)}
        print(json.dumps(told))  # noqa: T201
        ray.shutdown()
    finally:
        cluster.shutdown()  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]))
