"""What actors are told of the platform that they belong to."""

from actors.config import PlatformConfig
from cluster.runtime.settings import Settings
from cluster.runtime.store_kind import StoreKind


def config_on(store: StoreKind) -> PlatformConfig:
    return PlatformConfig(
        platform_id=b"ours12", data_folder="/data", settings=Settings(store=store)
    )


def test_who_holds_the_lock_of_an_embedded_store_is_the_only_platform() -> None:
    assert config_on(StoreKind.LOCAL).sole_platform == b"ours12"


def test_on_a_cluster_owners_of_other_platforms_are_left_alone_while_they_live() -> None:
    assert config_on(StoreKind.SCYLLA).sole_platform == b""
