"""Where a platform is at home on this machine: the data folder of the settings, for either store.

An embedded store lies in its folder.  A platform on ScyllaDB keeps there what belongs to the
machine: its lock, its bells, the token of its Ray, what its file connector wrote.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, assert_never

from actors.cli.open_folder import open_folder
from cluster.local.data_folder import DataFolder
from cluster.runtime.settings import Settings
from cluster.runtime.store_kind import StoreKind
from cluster.runtime.store_note import read_note, refuse_embedded, write_note
from pipeline.errors import DataFolderUnusable


class Home(NamedTuple):
    """A folder that a platform may run on, and the machines of its nodes where that is told."""

    path: Path
    machines: Mapping[str, str]


async def make_home(settings: Settings) -> Home:
    """Return the home of a platform that starts; its folder is made if it is not there.

    Raises `DataFolderUnusable`, and on ScyllaDB whatever speaks against using the keyspace.
    """
    path = settings.data.absolute()
    match settings.store:
        case StoreKind.LOCAL:
            return Home(open_folder(settings).path, {})
        case StoreKind.SCYLLA:
            # Imported only here: it brings the driver.
            from actors.scylla_store import prepare_scylla

            refuse_embedded(path)
            place = await prepare_scylla(settings)
            write_note(path, settings.scylla)
            return Home(path, place.machines)
        case other:
            assert_never(other)


def find_home(settings: Settings) -> Path:
    """Return the folder of a platform that was started before; raises `DataFolderUnusable`."""
    path = settings.data.absolute()
    match settings.store:
        case StoreKind.LOCAL:
            return DataFolder.open(path).path
        case StoreKind.SCYLLA:
            refuse_embedded(path)
            if read_note(path) is None:
                raise DataFolderUnusable(
                    f"no platform on ScyllaDB was started on {path}: start it with `shardpost up"
                    f" --data {settings.data}`, or name its data folder"
                )
            return path
        case other:
            assert_never(other)
