"""What is asked for is not there."""

from pipeline.errors import ShardpostError


class NothingFound(ShardpostError):
    """The caller must look at the name it asked for; nothing is stored under it."""
