"""Ray for an embedded platform: a cluster of one machine, its dashboard on the loopback address.

`ray_environment` must have prepared the process before this is imported.
"""

import logging
import socket
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

import ray

from pipeline.errors import PlatformNotRunning, PlatformNotStarted

_LOOPBACK: Final = "127.0.0.1"
_PORTS_TRIED_MAX: Final = 100
_PORT_MAX: Final = 65_535
_OBJECT_STORE_BYTES: Final = 256 * 1024 * 1024


class EmbeddedRay(NamedTuple):
    """A cluster that runs."""

    address: str
    dashboard_url: str  # empty: it has none
    logs: str  # the folder that its processes log to


def start_embedded_ray(
    *, namespace: str, labels: Mapping[str, str], dashboard_port: int | None
) -> EmbeddedRay:
    """Start a cluster for this process and its children; it ends with this process.

    Raises `PlatformNotStarted`.
    """
    try:
        context = ray.init(
            address="local",
            namespace=namespace,
            labels=dict(labels),
            include_dashboard=dashboard_port is not None,
            dashboard_host=_LOOPBACK,
            dashboard_port=None if dashboard_port is None else free_port(dashboard_port),
            _node_ip_address=_LOOPBACK,
            object_store_memory=_OBJECT_STORE_BYTES,
            log_to_driver=False,
            logging_level=logging.ERROR,
            configure_logging=False,
        )
    except Exception as error:  # Ray raises this very class when a part of it does not come up
        first_line = str(error).partition("\n")[0]
        raise PlatformNotStarted(
            f"Ray did not start ({first_line}): is the machine out of memory, or very busy?"
            " Try again, and look into Ray's session_latest/logs"
        ) from error
    url = context.dashboard_url
    return EmbeddedRay(
        address=ray.get_runtime_context().gcs_address,
        dashboard_url=f"http://{url}" if url else "",
        logs=str(Path(cast(Any, context).address_info["session_dir"]) / "logs"),
    )


def free_port(first: int) -> int:
    """Return the first port from `first` on that nobody listens on.

    Ray looks further only where it chooses the port itself; two platforms on one machine are
    nothing unusual.
    """
    for port in range(first, min(first + _PORTS_TRIED_MAX, _PORT_MAX + 1)):
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((_LOOPBACK, port))
            return port
    raise PlatformNotStarted(
        f"no port from {first} on is free for the dashboard: set dashboard_port to another,"
        " or dashboard to false"
    )


def join_embedded_ray(*, address: str, namespace: str) -> None:
    """Join the cluster of a running platform; raises `PlatformNotRunning` if it does not answer."""
    try:
        ray.init(
            address=address,
            namespace=namespace,
            _node_ip_address=_LOOPBACK,
            log_to_driver=False,
            logging_level=logging.ERROR,
            configure_logging=False,
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise PlatformNotRunning(
            f"the platform at {address} does not answer: start it with `shardpost up`"
        ) from error


def stop_ray() -> None:
    """Leave the cluster, or end it if this process started it."""
    ray.shutdown()
