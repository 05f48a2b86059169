"""Which store a platform has; apart from the other settings, as every command knows it."""

from enum import StrEnum


class StoreKind(StrEnum):
    """What holds the messages."""

    LOCAL = "local"  # SQLite files in the data folder
    SCYLLA = "scylla"  # a ScyllaDB cluster
