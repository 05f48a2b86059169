"""What actors are told at birth: plain data, so that Ray can ship it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from cluster.topology.generation import Core
from pipeline.limits import Windows

NAMESPACE = "shardpost"
# The machine that both made-up nodes of an embedded store are on.
EMBEDDED_MACHINE = "embedded"
# A raylet says with this label which machine of the ring it stands beside.
MACHINE_LABEL = "scylla-host"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileConnectorConfig:
    """A way out that writes lines to files."""

    name: str
    channels: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformConfig:
    """One running platform.  `platform_id` begins the owner id of each of its processes."""

    platform_id: bytes
    data_folder: str
    windows: Windows
    ingesters_count: int
    connectors: tuple[FileConnectorConfig, ...]
    # node -> machine, where the nodes of the ring are not all on the embedded machine
    machines: Mapping[str, str] = field(default_factory=dict)
    num_cpus_ingester: float = 0.0
    log_level: str = "info"

    def machine_of(self, core: Core) -> str:
        """Return the machine beside which the core's scheduler is placed."""
        return self.machines.get(core.node, EMBEDDED_MACHINE)
