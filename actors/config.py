"""What actors are told at birth: plain data, so that Ray can ship it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from cluster.runtime.settings import Settings
from cluster.runtime.store_kind import StoreKind
from cluster.topology.generation import Core

NAMESPACE: Final = "shardpost"
# The machine that both made-up nodes of an embedded store are on.
EMBEDDED_MACHINE: Final = "embedded"
# A raylet says with this label which machine of the ring it stands beside.
MACHINE_LABEL: Final = "scylla-host"
PLATFORM_ID_BYTES: Final = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformConfig:
    """One running platform.  `platform_id` begins the owner id of each of its processes."""

    platform_id: bytes
    data_folder: str
    settings: Settings
    # node -> machine, where the nodes of the ring are not all on the embedded machine
    machines: Mapping[str, str] = field(default_factory=dict)

    @property
    def sole_platform(self) -> bytes:
        """The id by which a lane's owner is known to be of this platform, empty on a shared store.

        Who holds the lock of an embedded store is the only platform there is; a ScyllaDB cluster
        may have several, whose lanes are left alone as long as their heartbeats go on.
        """
        return self.platform_id if self.settings.store is StoreKind.LOCAL else b""

    def machine_of(self, core: Core) -> str:
        """Return the machine beside which the core's scheduler is placed."""
        return self.machines.get(core.node, EMBEDDED_MACHINE)
