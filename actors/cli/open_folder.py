"""The data folder of the settings, made if it is not there."""

from cluster.local.data_folder import DataFolder, Shape
from cluster.runtime.clock import SystemClock
from cluster.runtime.settings import Settings


def open_folder(settings: Settings) -> DataFolder:
    """Return the folder; a new one gets the shape of the settings.  Raises `DataFolderUnusable`."""
    is_shape_asked = "local" in settings.model_fields_set
    return DataFolder.create_or_open(
        settings.data.absolute(),
        shape=(
            Shape(node_count=settings.local.nodes, shard_count=settings.local.shards)
            if is_shape_asked
            else None
        ),
        windows=settings.windows,
        now=SystemClock().now(),
    )
